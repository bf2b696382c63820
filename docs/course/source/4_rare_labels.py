# %% [markdown] lang="en"
# # 4. Rare labels
#
# Few positives, many negatives: a loss that charges more for a miss should help. Or does it only
# move the threshold? This notebook trains both losses on rare digits and looks.
#
# You need `pip install 'askew[apps,plots,report]'`.

# %% [markdown] lang="pt"
# # 4. Rótulos raros
#
# Poucos positivos, muitos negativos: uma perda que cobra mais por uma omissão deveria ajudar. Ou
# ela só desloca o limiar? Este notebook treina as duas perdas em dígitos raros e olha.
#
# É preciso ter `pip install 'askew[apps,plots,report]'`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from torch import nn

from askew.inspection import plot_loss_sides
from askew.losses import AsymmetricBCELoss
from askew.tasks import best_threshold
from askew.tradeoffs import Metric, Row, analyze

plt.rcParams["figure.constrained_layout.use"] = True
torch.set_num_threads(1)

# %% [markdown] lang="en"
# ## The data
#
# The positives are eights. Three quarters of them are taken away, so that about 1 image in 40 is an
# eight. The rows are split into training, validation and test.

# %% [markdown] lang="pt"
# ## Os dados
#
# Os positivos são os oitos. Três quartos deles são retirados, de modo que cerca de 1 imagem em 40
# é um oito. As linhas são divididas em treino, validação e teste.

# %%
digits, chance = load_digits(), torch.Generator().manual_seed(0)
x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target == 8).float()
kept = ((y == 0) | (torch.rand(len(y), generator=chance) < 0.25)).nonzero().flatten()
rows = kept[torch.randperm(len(kept), generator=chance)]
train, valid, test = ((x[part], y[part]) for part in rows.tensor_split([700, 1100]))
for name, (_, labels) in {"training": train, "validation": valid, "test": test}.items():
    print(f"{name:10} {len(labels):4} images, {int(labels.sum())} of them eights")

# %% [markdown] lang="en"
# ## Two losses
#
# The plain loss has one price. The other one charges a miss eight times as much.

# %% [markdown] lang="pt"
# ## Duas perdas
#
# A perda comum tem um preço só. A outra cobra oito vezes mais por uma omissão.

# %%
LOSSES = {"plain": AsymmetricBCELoss(), "misses × 8": AsymmetricBCELoss(weight_pos=8.0)}
figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharey=True)
for (name, loss), ax in zip(LOSSES.items(), axes, strict=True):
    plot_loss_sides(loss, ax, limit=3).set_title(name)
plt.show()

# %% [markdown] lang="en"
# ## Train both, with the same seeds

# %% [markdown] lang="pt"
# ## Treine as duas, com as mesmas sementes


# %%
def probabilities(loss: nn.Module, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Train with a loss and return the probabilities of the validation and test images."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(600):
        batch = torch.randint(len(train[0]), (64,))
        loss(model(train[0][batch]), train[1][batch]).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return model(valid[0]).sigmoid().numpy(), model(test[0]).sigmoid().numpy()


SEEDS = range(8)
answers = {(name, s): probabilities(loss, s) for name, loss in LOSSES.items() for s in SEEDS}
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True)
for name, ax in zip(LOSSES, axes, strict=True):
    for label, word in ((0, "others"), (1, "eights")):
        at = answers[name, 0][1][test[1].numpy() == label]
        ax.hist(at, bins=np.linspace(0, 1, 26), alpha=0.6, label=word)
    ax.set(yscale="log", xlabel="probability of an eight", title=name)
axes[0].set_ylabel("test images")
axes[0].legend()
plt.show()

# %% [markdown] lang="en"
# ## The score at every threshold
#
# A probability is not yet a decision. The decision needs a *threshold*: from which probability on
# do we say "eight"? The curves show F1 on the validation images at every threshold, one curve per
# seed. A loss that charges more for a miss gives higher probabilities, so its curve moves to the
# right. At .5, the threshold that everybody uses, the two losses then look different for a reason
# that has nothing to do with what they learnt.

# %% [markdown] lang="pt"
# ## A pontuação em cada limiar
#
# Uma probabilidade ainda não é uma decisão. A decisão precisa de um *limiar*: a partir de que
# probabilidade dizemos "oito"? As curvas mostram o F1 nas imagens de validação em cada limiar, uma
# curva por semente. Uma perda que cobra mais por uma omissão dá probabilidades mais altas, e a sua
# curva vai para a direita. Em 0,5, o limiar que todos usam, as duas perdas então parecem
# diferentes por um motivo que nada tem a ver com o que aprenderam.

# %%
thresholds = np.linspace(0.01, 0.99, 50)
figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
for name, ax in zip(LOSSES, axes, strict=True):
    for seed in SEEDS:
        guessed = answers[name, seed][0]
        curve = [100 * f1_score(valid[1], guessed > t, zero_division=0) for t in thresholds]
        ax.plot(thresholds, curve, color="tab:blue", alpha=0.4)
    ax.axvline(0.5, color="grey")
    ax.set(xlabel="threshold", title=name)
axes[0].set_ylabel("F1 on validation")
plt.show()

# %% [markdown] lang="en"
# ## A fair comparison
#
# Now every run gets its own best threshold, chosen on the validation images. Both kinds of F1 are
# then computed on the test images. `analyze` judges the paired differences. The dots are the
# seeds.

# %% [markdown] lang="pt"
# ## Uma comparação justa
#
# Agora cada treino recebe o seu melhor limiar, escolhido nas imagens de validação. Os dois tipos
# de F1 são então calculados nas imagens de teste. O `analyze` julga as diferenças pareadas. Os
# pontos são as sementes.

# %%
table = []
for (name, seed), (on_valid, on_test) in answers.items():
    tuned = best_threshold(on_valid[:, None], valid[1][:, None].numpy())
    for metric, threshold in (("F1 at .5", 0.5), ("F1, tuned threshold", tuned)):
        f1 = 100 * f1_score(test[1], on_test > threshold)
        table.append(Row(name, seed, "", metric, f1))
metrics = [Metric(name=m, label=m, equivalence=1.0) for m in ("F1 at .5", "F1, tuned threshold")]
verdicts = analyze(table, baseline="plain", metrics=metrics)
figure, ax = plt.subplots(figsize=(7, 2.2))
for at, one in enumerate(verdicts):
    ax.plot([one.low, one.high], [at, at], linewidth=3, color="tab:blue")
    ax.plot(one.seed_differences, [at + 0.2] * len(SEEDS), ".", color="tab:orange")
    interval = f"({one.low:+.1f} to {one.high:+.1f})"
    print(f"{one.metric:20} {one.verdict:12} {one.difference:+.1f} {interval}")
ax.axvline(0, color="grey")
ax.set(yticks=range(2), yticklabels=[one.metric for one in verdicts], ylim=(1.5, -0.5))
ax.set(xlabel="F1 with misses × 8 − F1 with the plain loss, points")
plt.show()

# %% [markdown] lang="en"
# Read the two rows together. At .5 the loss seems to gain a lot. With tuned thresholds the
# interval contains zero. So the gain came from the threshold, and nothing here shows that the loss
# itself helps. The plain loss with a tuned threshold is the baseline to beat, and tuning costs
# nothing. The interval is wide because there are few eights: *cannot tell* is not *equal*.
#
# With many labels or missing labels other losses may still help: [Choosing an
# asymmetry](../../choosing.md#many-labels-few-positives) has what was measured. On your own table,
# `askew compare imbalanced --challenger focal` does all of this: see [Tables](../../tabular.md).
#
# *Try it:* use `AsymmetricBCELoss.focal()` as the second loss.

# %% [markdown] lang="pt"
# Leia as duas linhas juntas. Em 0,5 a perda parece ganhar muito. Com limiares ajustados o
# intervalo contém o zero. Assim, o ganho veio do limiar, e nada aqui mostra que a perda em si
# ajuda. A perda comum com o limiar ajustado é a referência a superar, e ajustar não custa nada. O
# intervalo é largo porque há poucos oitos: *não dá para dizer* não é *igual*.
#
# Com muitos rótulos, ou com rótulos que faltam, outras perdas ainda podem ajudar: [Choosing an
# asymmetry](../../choosing.md#many-labels-few-positives) traz o que foi medido. Na sua tabela,
# `askew compare imbalanced --challenger focal` faz tudo isso: veja [Tables](../../tabular.md).
#
# *Experimente:* use `AsymmetricBCELoss.focal()` como segunda perda.
