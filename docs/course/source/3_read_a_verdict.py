# %% [markdown] lang="en"
# # 3. Read a verdict
#
# A comparison ends with *pays*, *does not pay* or *cannot tell*. Sometimes *equivalent* stands
# beside it. This notebook shows where these words come from. It compares two small models, and
# then it makes up scores whose truth is known.
#
# You need `pip install 'askew[apps,plots,report]'`.

# %% [markdown] lang="pt"
# # 3. Leia um veredito
#
# Uma comparação termina com *compensa* (pays), *não compensa* (does not pay) ou *não dá para
# dizer* (cannot tell). Às vezes *equivalente* (equivalent) está ao lado. Este notebook mostra de
# onde vêm essas palavras. Ele compara dois modelos pequenos e depois inventa pontuações cuja
# verdade é conhecida.
#
# É preciso ter `pip install 'askew[apps,plots,report]'`.

# %%
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from askew.tradeoffs import Experiment, Row, analyze

plt.rcParams["figure.constrained_layout.use"] = True

# %% [markdown] lang="en"
# ## Seeds come in pairs
#
# Two networks read handwritten digits. One has a bottleneck of eight units, the other has none.
# Each is trained five times. A *seed* fixes the first weights and the order of the data. With the
# same seed both models see the same data in the same order, so their scores form a *pair*.

# %% [markdown] lang="pt"
# ## As sementes vêm em pares
#
# Duas redes leem dígitos escritos à mão. Uma tem um gargalo de oito unidades, a outra não. Cada
# uma é treinada cinco vezes. Uma *semente* fixa os primeiros pesos e a ordem dos dados. Com a
# mesma semente os dois modelos veem os mesmos dados na mesma ordem, e as suas pontuações formam um
# *par*.

# %%
digits = load_digits()
order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
x = torch.tensor(digits.data / 16, dtype=torch.float32)[order]
y = torch.tensor(digits.target)[order]


def bottleneck() -> nn.Module:
    """Return a network that squeezes everything through eight units."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8), nn.Linear(8, 10))


def even() -> nn.Module:
    """Return a network without a bottleneck."""
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32), nn.Linear(32, 10))


experiment = Experiment(
    name="digits",
    models={"bottleneck": bottleneck, "even": even},
    train_data=(x[:1000], y[:1000]),
    test_data=(x[1200:], y[1200:]),
    steps=300,
)
with tempfile.TemporaryDirectory() as folder:
    comparison = experiment.compare(out=f"{folder}/digits", seeds=5)
verdict = comparison.verdicts[0]
print(f"{verdict.metric}: {verdict.challenger} {verdict.verdict}")
print(f"difference {verdict.difference:+.3f}, interval {verdict.low:+.3f} to {verdict.high:+.3f}")

# %% [markdown] lang="en"
# On the left, a line joins the two scores of each seed. On the right are the five differences and
# their interval. The verdict asks one thing: on which side of zero is the *whole* interval? If it
# is above zero, the challenger pays. If it is below, it does not pay. If it contains zero, the
# comparison cannot tell.

# %% [markdown] lang="pt"
# À esquerda, uma linha une as duas pontuações de cada semente. À direita estão as cinco diferenças
# e o seu intervalo. O veredito pergunta uma só coisa: de que lado do zero está o intervalo
# *inteiro*? Se está acima do zero, o desafiante compensa. Se está abaixo, não compensa. Se contém
# o zero, a comparação não pode dizer.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
scores = {(t["arm"], t["seed"]): t["metrics"]["accuracy"] for t in comparison.results["trials"]}
for seed in sorted({seed for _, seed in scores}):
    pair = [scores[arm, seed] for arm in ("even", "bottleneck")]
    left.plot(["even", "bottleneck"], pair, marker="o", color="tab:blue", alpha=0.6)
left.set(ylabel="accuracy", xmargin=0.3, title="pairs")


def show(verdict, ax, at, colour="tab:blue"):
    """Draw the interval of a verdict at a height."""
    ax.plot([verdict.low, verdict.high], [at, at], color=colour, linewidth=3)
    ax.plot(verdict.difference, at, marker="o", color=colour)


show(verdict, right, 0)
right.plot(verdict.seed_differences, [0.4] * 5, linestyle="", marker="|", markersize=12)
right.axvline(0, color="grey")
right.set(yticks=[0, 0.4], yticklabels=["interval", "seeds"], ylim=(-0.4, 0.8))
right.set(xlabel="bottleneck − even, accuracy", title=verdict.verdict)
plt.show()

# %% [markdown] lang="en"
# ## Items count too
#
# Another test set would have given other scores. So the interval covers two kinds of chance: which
# seeds were drawn, and which test items. `analyze` judges any table of scores, so we can make one
# up. The true difference here is 1 point. The picture shows how the interval shrinks.
#
# More items help at first. Then the spread over seeds remains, and only more seeds help.

# %% [markdown] lang="pt"
# ## Os itens também contam
#
# Outro conjunto de teste teria dado outras pontuações. Por isso o intervalo cobre dois tipos de
# acaso: quais sementes foram sorteadas e quais itens de teste. O `analyze` julga qualquer tabela
# de pontuações, e assim podemos inventar uma. A verdadeira diferença aqui é 1 ponto. A figura
# mostra como o intervalo encolhe.
#
# Mais itens ajudam no começo. Depois sobra a variação entre as sementes, e só mais sementes ajudam.


# %%
chance = np.random.default_rng(3)
hardness = chance.normal(70, 15, 1000)  # of every item, the same for both models
luck = {arm: chance.normal(0, 0.7, (20, 1)) for arm in ("challenger", "baseline")}  # of a seed
noise = {arm: chance.normal(0, 10, (20, 1000)) for arm in luck}  # of a seed on an item


def table(seeds: int, items: int, gain: float = 1.0) -> list[Row]:
    """Return made-up scores of the first seeds on the first items."""
    rows = []
    for arm in luck:
        scores = hardness + luck[arm] + noise[arm] + (gain if arm == "challenger" else 0)
        for (seed, item), score in np.ndenumerate(scores[:seeds, :items]):
            rows.append(Row(arm, seed, str(item), "score", score))
    return rows


figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharex=True)
more_items = {f"{n} items": table(5, n) for n in (30, 100, 300, 1000)}
more_seeds = {f"{n} seeds": table(n, 300) for n in (3, 5, 10, 20)}
for title, tables, ax in (("5 seeds", more_items, axes[0]), ("300 items", more_seeds, axes[1])):
    for at, rows in enumerate(tables.values()):
        show(analyze(rows, baseline="baseline", min_seeds=3)[0], ax, at)
    ax.axvline(0, color="grey")
    ax.axvline(1, color="tab:green", linestyle=":")
    ax.set(yticks=range(4), yticklabels=tables, xlabel="difference (true: 1)", title=title)
    ax.invert_yaxis()
plt.show()

# %% [markdown] lang="en"
# ## Equivalent
#
# *Cannot tell* does not mean *equal*. To claim that two models are equal for your purpose, say
# first which difference you would still call none. That is the *margin of equivalence*. If the
# whole interval lies within the margin, the models are equivalent.
#
# The grey band is a margin of 1 point. The true difference is 0 in all three rows.

# %% [markdown] lang="pt"
# ## Equivalente
#
# *Não dá para dizer* não significa *igual*. Para afirmar que dois modelos são iguais para o seu
# fim, diga antes que diferença você ainda chamaria de nenhuma. Essa é a *margem de equivalência*.
# Se o intervalo inteiro está dentro da margem, os modelos são equivalentes.
#
# A faixa cinza é uma margem de 1 ponto. A verdadeira diferença é 0 nas três linhas.

# %%
figure, ax = plt.subplots(figsize=(6, 2.4))
names = []
for at, seeds in enumerate((3, 8, 20)):
    rows = table(seeds, 400, gain=0.0)
    one = analyze(rows, baseline="baseline", equivalence={"score": 1.0}, min_seeds=3)[0]
    show(one, ax, at)
    names.append(f"{seeds} seeds: {one.verdict}" + (", equivalent" if one.equivalent else ""))
ax.axvspan(-1, 1, color="grey", alpha=0.2)
ax.axvline(0, color="grey")
ax.set(yticks=range(3), yticklabels=names, xlabel="difference", ylim=(2.5, -0.5))
plt.show()

# %% [markdown] lang="en"
# ## What a search does to a claim
#
# Try many models, report the best one, and chance works for you. Here 60 models are all exactly as
# good as the baseline. Each is judged on five seeds, and the best of them is picked. This is
# repeated 1,000 times. The interval is Student's t of five paired differences, as in `analyze`
# without items.
#
# The blue bars show the lower end of the winner's interval on the seeds that chose it. Right of
# zero it *seems* to pay. The orange bars show the same winners on five fresh seeds.

# %% [markdown] lang="pt"
# ## O que uma busca faz com uma afirmação
#
# Experimente muitos modelos, relate o melhor, e o acaso trabalha a seu favor. Aqui 60 modelos são
# todos exatamente tão bons quanto a referência. Cada um é julgado em cinco sementes, e o melhor
# deles é escolhido. Isso se repete 1.000 vezes. O intervalo é o t de Student de cinco diferenças
# pareadas, como no `analyze` sem itens.
#
# As barras azuis mostram a ponta inferior do intervalo do vencedor nas sementes que o escolheram. À
# direita do zero ele *parece* compensar. As barras laranja mostram os mesmos vencedores em cinco
# sementes novas.

# %%
chance = np.random.default_rng(0)
T_95 = 2.776  # Student's t, four degrees of freedom


def lower_end(differences: np.ndarray) -> np.ndarray:
    """Return the lower end of the 95 % interval of each row."""
    spread = differences.std(-1, ddof=1) / np.sqrt(differences.shape[-1])
    return differences.mean(-1) - T_95 * spread


searched = chance.normal(0, 1, (1000, 60, 5))
winners = searched.mean(-1).argmax(1)
seen = lower_end(searched[np.arange(1000), winners])
fresh = lower_end(chance.normal(0, 1, (1000, 5)))

figure, ax = plt.subplots(figsize=(7, 3))
bins = np.linspace(-4, 2, 49)
for ends, label in ((seen, "the seeds that chose it"), (fresh, "fresh seeds")):
    pays = (ends > 0).mean()
    ax.hist(ends, bins=bins, alpha=0.6, label=f"{label}: seems to pay in {100 * pays:.1f} %")
ax.axvline(0, color="grey")
ax.set(xlabel="lower end of the winner's interval", ylabel="searches")
ax.legend()
plt.show()

# %% [markdown] lang="en"
# Nothing pays here, yet the winner often seems to. On fresh seeds the error is what it should be:
# 2.5 in 100 on this side. So `askew find` judges its finalists on seeds and data that the search
# never saw.
#
# Read on: [Comparisons](../../comparisons.md), and
# [are the verdicts right?](../../evidence.md#are-the-verdicts-right) with measured error rates.
#
# *Try it:* set the number of models to 5. How much of the error is left?

# %% [markdown] lang="pt"
# Nada compensa aqui, e mesmo assim o vencedor muitas vezes parece compensar. Nas sementes novas o
# erro é o que deve ser: 2,5 em 100 deste lado. Por isso o `askew find` julga os seus finalistas em
# sementes e dados que a busca nunca viu.
#
# Continue em [Comparisons](../../comparisons.md) e em
# [are the verdicts right?](../../evidence.md#are-the-verdicts-right), com taxas de erro medidas.
#
# *Experimente:* ponha 5 no número de modelos. Quanto do erro sobra?
