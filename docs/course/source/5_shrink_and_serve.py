# %% [markdown] lang="en"
# # 5. Shrink and serve a translation model
#
# A translation model reads once and writes token by token. So a decoder layer costs more time than
# an encoder layer. This notebook trains a small model, cuts its decoder to one layer, teaches what
# is left, and runs it in a faster engine. It takes one to two minutes.
#
# You need `pip install 'askew[apps,plots,serve]'`.

# %% [markdown] lang="pt"
# # 5. Encolha e sirva um modelo de tradução
#
# Um modelo de tradução lê uma vez e escreve token por token. Por isso uma camada do decodificador
# custa mais tempo do que uma do codificador. Este notebook treina um modelo pequeno, corta o
# decodificador para uma camada, ensina o que sobrou e roda tudo num motor mais rápido. Leva de um
# a dois minutos.
#
# É preciso ter `pip install 'askew[apps,plots,serve]'`.

# %%
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from transformers.utils import logging

from askew.export import export_ctranslate2
from askew.models import Translator
from askew.tasks import (
    Shrinking,
    prepare_training,
    shrink_folder,
    train_into,
    translation_preset,
    translation_task,
)
from askew.text import localisation_phrases
from askew.tradeoffs import Budget
from askew.training import DistillationConfig, TrainingConfig

plt.rcParams["figure.constrained_layout.use"] = True
torch.set_num_threads(1)
logging.set_verbosity_error()
logging.disable_progress_bar()
work = tempfile.TemporaryDirectory()
folder = Path(work.name)

# %% [markdown] lang="en"
# ## The data
#
# An installed package carries phrases that people wrote in many languages: dates, units, names.
# Here they are in English and Portuguese. Your own pairs come from a file: `askew train
# translation --data pairs.tsv`.

# %% [markdown] lang="pt"
# ## Os dados
#
# Um pacote instalado traz frases que pessoas escreveram em muitas línguas: datas, unidades, nomes.
# Aqui elas estão em inglês e português. Os seus pares vêm de um arquivo: `askew train translation
# --data pares.tsv`.

# %%
text = localisation_phrases(num_train=2000, num_valid=100, num_test=100)
for source, target in list(zip(text.train.sources, text.train.targets, strict=True))[:5]:
    print(f"{source:32} {target}")

# %% [markdown] lang="en"
# ## Train
#
# The model is symmetric at first: three layers on each side. The curve is the loss on validation
# phrases.

# %% [markdown] lang="pt"
# ## Treine
#
# O modelo é simétrico no começo: três camadas de cada lado. A curva é a perda nas frases de
# validação.

# %%
STEPS = 400
training = TrainingConfig(steps=STEPS, lr=3e-3)
task = translation_task("phrases", text, vocab_size=500, training=training)
config = translation_preset("symmetric", "tiny", vocab_size=task.vocabularies())
curve = {}


def watch(record: dict) -> None:
    """Keep the losses of validation."""
    if "eval_loss" in record:
        curve[record["step"]] = record["eval_loss"]


settings = {"budget": Budget(steps=STEPS), "seed": 0, "threads": 1, "out": folder / "model"}
identity = prepare_training(task, config, **settings)
scores = train_into(task, config, identity, progress=lambda *_: None, on_record=watch, **settings)
figure, ax = plt.subplots(figsize=(5, 2.4))
ax.plot(list(curve), list(curve.values()), marker="o")
ax.set(xlabel="step", ylabel="validation loss", title=f"chrF on test phrases: {scores['chrf']:.1f}")
plt.show()

# %% [markdown] lang="en"
# ## Cut and teach
#
# One decoder layer of three is kept. The cut model answers badly at first. It then learns from the
# outputs of the whole model, which is its *teacher*. On the command line this is
# `askew shrink model --decoder-layers 1 --data pairs.tsv --out student`.

# %% [markdown] lang="pt"
# ## Corte e ensine
#
# De três camadas do decodificador fica uma. No começo o modelo cortado responde mal. Depois ele
# aprende com as saídas do modelo inteiro, que é o seu *professor*. Na linha de comando isso é
# `askew shrink model --decoder-layers 1 --data pares.tsv --out student`.

# %%
shrunk = shrink_folder(
    folder / "model",
    folder / "student",
    Shrinking(decoder_layers=1, training=DistillationConfig(steps=300, lr=3e-3)),
    text,
)
before, after = shrunk.parameters
print(f"decoder layers kept: {shrunk.kept['decoder']}; parameters {before:,} → {after:,}")
figure, ax = plt.subplots(figsize=(5, 2.4))
names = {"teacher": "whole model", "untaught": "cut, not taught", "student": "cut and taught"}
bars = ax.barh(list(names.values()), [shrunk.scores[name]["chrf"] for name in names])
ax.bar_label(bars, fmt="%.1f", padding=3)
ax.invert_yaxis()
ax.set(xlabel="chrF on test phrases", xlim=(0, 100))
plt.show()

# %% [markdown] lang="en"
# ## Serve
#
# PyTorch is for training. CTranslate2 is an engine for answering. It computes the same
# translations, faster, and it runs models whose two sides differ. Times are for one phrase after
# the other on one thread; on your machine they will differ.

# %% [markdown] lang="pt"
# ## Sirva
#
# O PyTorch é para treinar. O CTranslate2 é um motor para responder. Ele calcula as mesmas
# traduções, mais depressa, e roda modelos cujos dois lados são diferentes. Os tempos são de uma
# frase depois da outra num só thread; na sua máquina serão outros.

# %%
milliseconds, outputs = {}, {}
for name in ("model", "student"):
    export_ctranslate2(folder / name)
    for engine in ("torch", "ctranslate2"):
        translator = Translator.from_pretrained(folder / name, engine=engine, batch_size=1)
        translator.translate(text.test.sources[:3])
        began = time.perf_counter()
        outputs[name, engine] = translator.translate(text.test.sources[:40])
        milliseconds[name, engine] = 1000 * (time.perf_counter() - began) / 40
figure, ax = plt.subplots(figsize=(6, 2.4))
bars = ax.barh([f"{name}, {engine}" for name, engine in milliseconds], milliseconds.values())
ax.bar_label(bars, fmt="%.1f", padding=3)
ax.invert_yaxis()
ax.set(xlabel="milliseconds for a phrase", xscale="log", xmargin=0.15)
plt.show()

# %% [markdown] lang="en"
# The table shows phrases that no training saw. The last line says how many translations of the
# student are the same in both engines.

# %% [markdown] lang="pt"
# A tabela mostra frases que nenhum treino viu. A última linha diz quantas traduções do aluno são
# iguais nos dois motores.

# %%
slow, fast = outputs["student", "torch"], outputs["student", "ctranslate2"]
print(f"{'source':26} {'student':34} reference")
shown = [row for row in range(40) if len(text.test.sources[row]) < 26]
for row in shown[:10]:
    print(f"{text.test.sources[row]:26} {fast[row]:34} {text.test.targets[row]}")
same = sum(a == b for a, b in zip(slow, fast, strict=True))
print(f"\nthe same in both engines: {same} of 40")
work.cleanup()

# %% [markdown] lang="en"
# Does the cut pay? A bar chart of one run cannot say. `askew compare --from model --data
# pairs.tsv` cuts one side or both, with seeds and intervals: see
# [Shrinking](../../shrink.md#does-the-asymmetry-pay). Further reading:
# [Translation](../../translation.md), [Export](../../export.md).
#
# *Try it:* keep two decoder layers. Where does the time end up?

# %% [markdown] lang="pt"
# O corte compensa? Um gráfico de barras de um treino só não pode dizer. `askew compare --from
# model --data pares.tsv` corta um lado ou os dois, com sementes e intervalos: veja
# [Shrinking](../../shrink.md#does-the-asymmetry-pay). Leia também
# [Translation](../../translation.md) e [Export](../../export.md).
#
# *Experimente:* mantenha duas camadas do decodificador. Com que tempo você fica?
