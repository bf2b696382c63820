# %% [markdown] lang="en"
# # 2. Find one that pays
#
# An asymmetry is a choice of numbers: how wide is each side? A search tries many choices. This
# notebook builds a problem whose two sides need different widths, lets `find` search, and looks at
# what it tried. It takes about a minute, most of it for starting processes.
#
# You need `pip install 'askew[apps,plots,report,sweep]'`.

# %% [markdown] lang="pt"
# # 2. Ache uma que compensa
#
# Uma assimetria é uma escolha de números: qual é a largura de cada lado? Uma busca experimenta
# muitas escolhas. Este notebook monta um problema cujos dois lados precisam de larguras
# diferentes, deixa o `find` procurar e olha o que ele experimentou. Leva cerca de um minuto; quase
# tudo é o início de processos.
#
# É preciso ter `pip install 'askew[apps,plots,report,sweep]'`.

# %%
import tempfile
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from askew.tradeoffs import Experiment, Metric, Range, Score, SearchBudget, Space, adamw, find

plt.rcParams["figure.constrained_layout.use"] = True

# %% [markdown] lang="en"
# ## A problem with two unequal sides
#
# The input has 24 numbers: 12 for the left side and 12 for the right side. The target contains nine
# of the left numbers and only one of the right numbers. So the left side has nine things to carry,
# and the right side has one.
#
# The model has one branch per side. Each branch squeezes its 12 numbers through a narrow layer. How
# wide should each narrow layer be, if both together may have ten units?

# %% [markdown] lang="pt"
# ## Um problema com dois lados desiguais
#
# A entrada tem 24 números: 12 para o lado esquerdo e 12 para o lado direito. O alvo contém nove dos
# números da esquerda e um só dos números da direita. Assim o lado esquerdo tem nove coisas para
# levar, e o lado direito tem uma.
#
# O modelo tem um ramo para cada lado. Cada ramo aperta os seus 12 números numa camada estreita. Que
# largura deve ter cada camada estreita, se as duas juntas podem ter dez unidades?


# %%
class Sides(nn.Module):
    """A narrow linear branch for each half of the input."""

    def __init__(self, left: int, right: int):
        super().__init__()
        self.left, self.right = (
            nn.Sequential(nn.Linear(12, width, bias=False), nn.Linear(width, 12, bias=False))
            for width in (left, right)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of both branches."""
        return self.left(x[:, :12]) + self.right(x[:, 12:])


x = torch.randn(456, 24, generator=torch.Generator().manual_seed(0))
y = torch.cat([x[:, :9], x[:, 12:13], torch.zeros(456, 2)], 1)

figure, ax = plt.subplots(figsize=(7, 1.9))
link = torch.zeros(12, 24)
link[range(9), range(9)] = 1
link[9, 12] = 1
ax.imshow(link, cmap="Blues", aspect="auto")
ax.axvline(11.5, color="grey")
ax.set(xlabel="input: left (0–11), right (12–23)", ylabel="target", title="what depends on what")
plt.show()

# %% [markdown] lang="en"
# ## A space
#
# A *space* says which numbers may vary. Here both widths go from 1 to 9. Two more lines make the
# comparison fair:
#
# - `ties`: in a symmetric candidate, the right width equals the left one. So the search looks for
#   the best symmetric model too.
# - `solved`: the right width is computed so that every candidate has the same number of parameters.
#   A candidate cannot win by being larger.

# %% [markdown] lang="pt"
# ## Um espaço
#
# Um *espaço* diz quais números podem variar. Aqui as duas larguras vão de 1 a 9. Mais duas linhas
# tornam a comparação justa:
#
# - `ties`: num candidato simétrico, a largura direita é igual à esquerda. Assim a busca procura
#   também o melhor modelo simétrico.
# - `solved`: a largura direita é calculada de modo que todo candidato tenha o mesmo número de
#   parâmetros. Um candidato não pode ganhar por ser maior.

# %%
width = Range(low=1, high=9, step=1)
space = Space(
    numbers={"model.left": width, "model.right": width},
    ties={"model.right": "model.left"},
    solved=("model.right",),
)
error = Score(
    metric=Metric(name="error", label="error", better="lower", equivalence=0.01),
    function=lambda outputs, targets: (outputs - targets).square().mean(1),
)
experiment = Experiment(
    name="sides",
    models={"wide-left": partial(Sides, left=6, right=4), "even": partial(Sides, left=5, right=5)},
    train_data=(x[:256], y[:256]),
    valid_data=(x[256:356], y[256:356]),
    test_data=(x[356:], y[356:]),
    scores=(error,),
    loss=nn.functional.mse_loss,
    optimizer=partial(adamw, lr=0.02),
    space=space,
)
for name, model in experiment.models.items():
    print(f"{name:10} {sum(p.numel() for p in model().parameters())} parameters")

# %% [markdown] lang="en"
# ## The search
#
# All candidates train for a quarter of the steps. The better third goes on to half of the steps,
# and the better third of these to the end. Then the best asymmetric candidate meets the best
# symmetric one again, with new seeds and on the test data. That last race is the *confirmation*.
# Only the confirmation decides.
#
# This space is so small that it has only nine models. All of them are tried.

# %% [markdown] lang="pt"
# ## A busca
#
# Todos os candidatos treinam por um quarto dos passos. O melhor terço segue até a metade dos
# passos, e o melhor terço destes segue até o fim. Depois o melhor candidato assimétrico encontra
# de novo o melhor simétrico, com sementes novas e nos dados de teste. Essa última corrida é a
# *confirmação*. Só a confirmação decide.
#
# Este espaço é tão pequeno que só tem nove modelos. Todos são experimentados.

# %%
budget = SearchBudget(steps=360, candidates=16, finalists=1, seeds=5)
with tempfile.TemporaryDirectory() as folder:
    found = find(experiment, space, experiment.arms, out=Path(folder) / "search", budget=budget)
for candidate in sorted(found.candidates, key=lambda one: one["values"]["model.left"]):
    left, right = candidate["values"].values()
    errors = "  ".join(f"{-score:.3f}" for score in candidate["scores"])
    print(f"{candidate['name']:13} left {left}, right {right}   error at each rung: {errors}")

# %% [markdown] lang="en"
# The picture shows every candidate after its first rung. The further right, the more of the ten
# units are on the left side.

# %% [markdown] lang="pt"
# A figura mostra cada candidato depois do seu primeiro degrau. Quanto mais à direita, mais das dez
# unidades estão do lado esquerdo.

# %%
figure, ax = plt.subplots(figsize=(6, 3))
for symmetric, label in ((False, "asymmetric"), (True, "symmetric")):
    family = [one for one in found.candidates if one["symmetric"] == symmetric]
    widths = [one["values"]["model.left"] for one in family]
    ax.scatter(widths, [-one["scores"][0] for one in family], label=label, zorder=2)
ax.set(xlabel="width of the left side (the right side has the rest)", ylabel="validation error")
ax.grid(alpha=0.3)
ax.legend()
plt.show()

# %% [markdown] lang="en"
# ## The answer
#
# The answer is one sentence. It says how many candidates were tried, since that is part of the
# claim.

# %% [markdown] lang="pt"
# ## A resposta
#
# A resposta é uma frase. Ela diz quantos candidatos foram experimentados, pois isso faz parte da
# afirmação.

# %%
print(found.sentence)
for one in found.comparison.verdicts:
    interval = f"({one.low:+.2f} to {one.high:+.2f})"
    print(f"{one.metric:14} {one.verdict:12} {one.difference:+.2f} {interval}")

# %% [markdown] lang="en"
# Each line below is one seed of the confirmation. Both models see the same data in the same order.

# %% [markdown] lang="pt"
# Cada linha abaixo é uma semente da confirmação. Os dois modelos veem os mesmos dados na mesma
# ordem.

# %%
trials = found.comparison.results["trials"]
arms = list(dict.fromkeys(trial["arm"] for trial in trials))
figure, ax = plt.subplots(figsize=(6, 2.6))
for seed in sorted({trial["seed"] for trial in trials}):
    errors = {t["arm"]: t["metrics"]["error"] for t in trials if t["seed"] == seed}
    ax.plot(arms, [errors[arm] for arm in arms], marker="o", color="tab:blue", alpha=0.6)
ax.set(ylabel="test error", ylim=(0, None), xmargin=0.3)
plt.show()

# %% [markdown] lang="en"
# ## On your own data
#
# The same search runs from the command line: `askew find FILE.py:experiment`. For translation,
# `askew find --data pairs.tsv` searches the shapes of both sides. [Finding an
# asymmetry](../../find.md) has every setting.
#
# The problem above was made to have an answer. Yours may have none, and then `find` says so.
# [The next notebook](3_read_a_verdict.ipynb) explains what a verdict means.
#
# *Try it:* let the target contain five numbers of each side. What should `find` say?

# %% [markdown] lang="pt"
# ## Nos seus dados
#
# A mesma busca roda na linha de comando: `askew find ARQUIVO.py:experiment`. Para a tradução,
# `askew find --data pares.tsv` procura as formas dos dois lados. O guia
# [Finding an asymmetry](../../find.md) traz todas as opções.
#
# O problema acima foi feito para ter uma resposta. O seu pode não ter nenhuma, e então o `find` diz
# isso. [O próximo notebook](3_read_a_verdict.ipynb) explica o que um veredito significa.
#
# *Experimente:* faça o alvo conter cinco números de cada lado. O que o `find` deveria dizer?
