# %% [markdown] lang="en"
# # 1. What asymmetry is
#
# A network often has two sides. An encoder reads and a decoder writes. Queries ask and keys
# answer. Some labels are positive and some are negative. Most code gives both sides the same
# numbers: one width, one price, one learning rate.
#
# In Askew each side has its own numbers. Equal numbers on both sides give the ordinary, symmetric
# part. This notebook shows four asymmetries and draws each of them. It trains nothing.
#
# You need PyTorch, and this: `pip install 'askew[apps,plots]'`. The words are explained in the
# [glossary](../../glossary.md).

# %% [markdown] lang="pt"
# # 1. O que é assimetria
#
# Uma rede costuma ter dois lados. Um codificador lê e um decodificador escreve. As consultas
# perguntam e as chaves respondem. Alguns rótulos são positivos e outros são negativos. Quase todo
# código dá os mesmos números aos dois lados: uma largura, um preço, uma taxa de aprendizado.
#
# No Askew cada lado tem os seus números. Números iguais dos dois lados dão a parte comum,
# simétrica. Este notebook mostra quatro assimetrias e desenha cada uma. Ele não treina nada.
#
# É preciso ter PyTorch e isto: `pip install 'askew[apps,plots]'`. As palavras estão explicadas no
# [glossário](../../glossary.md) (em inglês).

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

from askew.attention import ALiBi, AsymmetricAttention, band_mask, causal_mask, prefix_mask
from askew.inspection import plot_bias, plot_loss_sides, plot_mask, plot_parts, plot_schedule
from askew.losses import AsymmetricBCELoss
from askew.optim import (
    AsymmetricOptimizer,
    AsymmetricScheduler,
    cosine,
    describe,
    freeze_until,
    preview,
    warmup,
)

torch.manual_seed(0)
plt.rcParams["figure.constrained_layout.use"] = True

# %% [markdown] lang="en"
# ## Queries and keys
#
# Attention compares a query with every key. The comparison happens in a space of its own, and that
# space may be narrower than the model. Here the model is 64 wide, but queries and keys meet in 16
# dimensions. The values, which carry the content, keep the full width.
#
# The layer also reads a source of another width, here 128. No adapter is needed. The weights of
# the two sides show what differs: look at the second number of each shape.

# %% [markdown] lang="pt"
# ## Consultas e chaves
#
# A atenção compara uma consulta com cada chave. A comparação acontece num espaço próprio, que pode
# ser mais estreito do que o modelo. Aqui o modelo tem largura 64, mas consultas e chaves se
# encontram em 16 dimensões. Os valores, que levam o conteúdo, mantêm a largura inteira.
#
# A camada também lê uma fonte de outra largura, aqui 128. Não é preciso um adaptador. Os pesos dos
# dois lados mostram o que é diferente: veja o segundo número de cada forma.

# %%
layer = AsymmetricAttention(64, d_source=128, d_query=16, num_heads=4)
for name, parameter in layer.named_parameters():
    if name.endswith("weight") and parameter.dim() == 2:
        print(f"{name:22} {tuple(parameter.shape)}")

# %% [markdown] lang="en"
# Six queries look at ten keys. Every row of the picture is one query, and its weights sum to 1.
# Nothing is learnt yet, so the weights follow no pattern.

# %% [markdown] lang="pt"
# Seis consultas olham para dez chaves. Cada linha da figura é uma consulta, e os seus pesos somam
# 1. Nada foi aprendido ainda, por isso os pesos não seguem nenhum padrão.

# %%
with torch.no_grad():
    weights = layer(torch.randn(1, 6, 64), torch.randn(1, 10, 128), return_weights=True).weights
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6))
for head, ax in enumerate((left, right)):
    image = ax.imshow(weights[0, head], cmap="Blues", vmin=0, vmax=weights.max())
    ax.set(xlabel="key", ylabel="query", title=f"head {head}")
figure.colorbar(image, ax=right, label="weight")
plt.show()

# %% [markdown] lang="en"
# With equal widths the layer is the one you know. `from_torch` copies the weights of PyTorch's
# layer, and the outputs are the same up to rounding.

# %% [markdown] lang="pt"
# Com larguras iguais a camada é a que você conhece. `from_torch` copia os pesos da camada do
# PyTorch, e as saídas são as mesmas, a menos do arredondamento.

# %%
theirs = nn.MultiheadAttention(64, 4, batch_first=True)
ours = AsymmetricAttention.from_torch(theirs)
x = torch.randn(2, 10, 64)
difference = (ours(x).output - theirs(x, x, x)[0]).abs().max()
print(f"largest difference from nn.MultiheadAttention: {difference:.1e}")

# %% [markdown] lang="en"
# ## Past and future
#
# A mask says which keys a query may attend to. Past and future are two sides as well. A causal
# mask shows the past alone. A band may show four keys before and one after. A prefix is a part of
# the text that every query sees.

# %% [markdown] lang="pt"
# ## Passado e futuro
#
# Uma máscara diz a quais chaves uma consulta pode dar atenção. Passado e futuro também são dois
# lados. Uma máscara causal mostra só o passado. Uma faixa pode mostrar quatro chaves antes e uma
# depois. Um prefixo é um trecho do texto que toda consulta vê.

# %%
masks = {
    "causal": causal_mask(12),
    "4 before, 1 after": band_mask(12, 12, before=4, after=1),
    "a prefix of 4": prefix_mask(12, prefix=4),
}
figure, axes = plt.subplots(1, 3, figsize=(8, 2.9))
for (title, mask), ax in zip(masks.items(), axes, strict=True):
    plot_mask(mask, ax).set_title(title)
plt.show()

# %% [markdown] lang="en"
# A mask is all or nothing. A bias is gradual: it lowers the score of a key the further away the key
# is. ALiBi does so by a slope. Here the future has another slope than the past: the two heads care
# less about what comes later.

# %% [markdown] lang="pt"
# Uma máscara é tudo ou nada. Um viés é gradual: quanto mais longe está a chave, mais ele abaixa a
# sua pontuação. O ALiBi faz isso por uma inclinação. Aqui o futuro tem outra inclinação que o
# passado: as duas cabeças dão menos importância ao que vem depois.

# %%
figure, ax = plt.subplots(figsize=(6, 3))
plot_bias(ALiBi(2, slopes_before=(0.1, 0.3), slopes_after=(0.4, 0.8)), ax, reach=(12, 12))
plt.show()

# %% [markdown] lang="en"
# ## Two mistakes, two prices
#
# A classifier makes two kinds of mistake. A *miss* calls a positive negative. A *false alarm* calls
# a negative positive. Binary cross-entropy charges both the same. Its two curves mirror each other.
#
# The second loss charges a miss four times as much. The third one is ASL: it fades out the
# negatives that are already easy, so that many easy negatives do not drown the few positives.

# %% [markdown] lang="pt"
# ## Dois erros, dois preços
#
# Um classificador comete dois tipos de erro. Uma *omissão* chama um positivo de negativo. Um
# *alarme falso* chama um negativo de positivo. A entropia cruzada binária cobra o mesmo pelos dois.
# As suas duas curvas são o reflexo uma da outra.
#
# A segunda perda cobra quatro vezes mais por uma omissão. A terceira é a ASL: ela apaga aos poucos
# os negativos que já são fáceis, para que muitos negativos fáceis não afoguem os poucos positivos.

# %%
losses = {
    "binary cross-entropy": AsymmetricBCELoss(),
    "a miss costs 4 times as much": AsymmetricBCELoss(weight_pos=4.0),
    "ASL": AsymmetricBCELoss.asl(),
}
figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), sharey=True)
for (title, loss), ax in zip(losses.items(), axes, strict=True):
    plot_loss_sides(loss, ax, limit=4).set(title=title, ylim=(0, 6))
plt.show()

# %% [markdown] lang="en"
# The gradient says how hard an element pulls at the model. Under ASL a negative whose probability
# is low no longer pulls at all.

# %% [markdown] lang="pt"
# O gradiente diz com que força um elemento puxa o modelo. Na ASL, um negativo de probabilidade
# baixa já não puxa nada.

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), sharey=True)
for (title, loss), ax in zip(losses.items(), axes, strict=True):
    plot_loss_sides(loss, ax, show="gradient", against="probability").set_title(title)
    ax.set(ylim=(-4.2, 4.2), ylabel="gradient")
plt.show()

# %% [markdown] lang="en"
# ## A rate for every part
#
# The last asymmetry is in the training. A part that was trained before should move slowly, and a
# new part fast. One optimizer holds all parts, and each part has its rate. Every parameter is in
# exactly one part; a parameter that is left over is an error.

# %% [markdown] lang="pt"
# ## Uma taxa para cada parte
#
# A última assimetria está no treinamento. Uma parte já treinada deve andar devagar, e uma parte
# nova deve andar depressa. Um só otimizador guarda todas as partes, e cada parte tem a sua taxa.
# Todo parâmetro está em exatamente uma parte; um parâmetro que sobra é um erro.

# %%
model = nn.ModuleDict(
    {"embedding": nn.Embedding(300, 32), "encoder": nn.Linear(32, 64), "head": nn.Linear(64, 10)}
)
rates = {"embedding": 1e-4, "encoder": 1e-3, "head": 1e-2}
optimizer = AsymmetricOptimizer(model, rates)
figure, ax = plt.subplots(figsize=(7, 2.6))
plot_parts(describe(optimizer), ax)
plt.show()

# %% [markdown] lang="en"
# Each part may have its own schedule too. Here the embedding waits for 200 steps. The other parts
# warm up and then fall. The axis of the rates is logarithmic.

# %% [markdown] lang="pt"
# Cada parte também pode ter o seu próprio cronograma. Aqui o embedding espera 200 passos. As outras
# partes sobem e depois caem. O eixo das taxas é logarítmico.

# %%
schedules = {
    "embedding": freeze_until(200, cosine(800)),
    "encoder": warmup(100, cosine(900)),
    "head": warmup(20, cosine(980)),
}
scheduler = AsymmetricScheduler(optimizer, schedules)
figure, ax = plt.subplots(figsize=(6, 3))
plot_schedule(preview(scheduler, 1000), ax)
plt.show()

# %% [markdown] lang="en"
# ## What you have seen
#
# | asymmetry | the two sides | guide |
# |---|---|---|
# | width of attention | queries, keys | [Attention](../../attention.md) |
# | masks and biases | past, future | [Attention](../../attention.md#positions) |
# | prices of a loss | misses, false alarms | [Losses](../../losses.md) |
# | rates and schedules | parts of the model | [Optimizers](../../optim.md) |
#
# Whether any of them helps is another question. [The next notebook](2_find_one_that_pays.ipynb)
# searches for an answer.
#
# *Try it:* set `weight_pos=0.25` in the loss, and say before you run it which curve will change.

# %% [markdown] lang="pt"
# ## O que você viu
#
# | assimetria | os dois lados | guia (em inglês) |
# |---|---|---|
# | largura da atenção | consultas, chaves | [Attention](../../attention.md) |
# | máscaras e vieses | passado, futuro | [Attention](../../attention.md#positions) |
# | preços de uma perda | omissões, alarmes falsos | [Losses](../../losses.md) |
# | taxas e cronogramas | partes do modelo | [Optimizers](../../optim.md) |
#
# Se alguma delas ajuda é outra pergunta. [O próximo notebook](2_find_one_that_pays.ipynb) procura
# uma resposta.
#
# *Experimente:* ponha `weight_pos=0.25` na perda e diga, antes de rodar, qual curva vai mudar.
