# %% [markdown] lang="en"
# # 6. Ask your documents
#
# You have a folder of documents and a question. This notebook finds the passage that answers it,
# without a model. It then measures how often that works, and shows what a trained reader adds: it
# encodes the documents once, so that each question is cheap.
#
# You need `pip install 'askew[apps,plots,documents]'`.

# %% [markdown] lang="pt"
# # 6. Pergunte aos seus documentos
#
# Você tem uma pasta de documentos e uma pergunta. Este notebook acha o trecho que responde, sem
# modelo. Depois ele mede quantas vezes isso funciona e mostra o que um leitor treinado acrescenta:
# ele codifica os documentos uma vez, de modo que cada pergunta fica barata.
#
# É preciso ter `pip install 'askew[apps,plots,documents]'`.

# %%
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from askew.models import AsymmetricQAConfig, AsymmetricQAModel, QuestionAnswerer
from askew.tasks import qa_preset, shipped_questions
from askew.text import PassageSearch, TfidfIndex, read_documents, train_tokenizer

plt.rcParams["figure.constrained_layout.use"] = True
torch.set_num_threads(1)

# %% [markdown] lang="en"
# ## A folder of documents
#
# Text, Markdown, HTML, PDF, DOCX, EPUB, mail and notebooks are read. Here are three small files.

# %% [markdown] lang="pt"
# ## Uma pasta de documentos
#
# São lidos texto, Markdown, HTML, PDF, DOCX, EPUB, correio e notebooks. Aqui estão três arquivos
# pequenos.

# %%
FILES = {
    "lighthouse.md": "# The lighthouse\n\nIt was built in 1874. Its lamp is seen from 30 km.",
    "ferry.html": "<h1>The ferry</h1><p>It sails at nine. Dogs travel free of charge.</p>",
    "garden.txt": "The garden opens in May. The oldest tree is a fig of 200 years.",
}
with tempfile.TemporaryDirectory() as folder:
    for name, content in FILES.items():
        (Path(folder) / name).write_text(content, encoding="utf-8")
    documents = read_documents(folder)
search = PassageSearch(documents)
for question in ("Do dogs pay?", "How old is the fig tree?", "When was it built?"):
    found = search.search(question, top=1)[0]
    document = documents[found.context]
    print(f"{question:24} {document.text[slice(*found.sentence)]!r} ({document.title})")

# %% [markdown] lang="en"
# ## How a passage is ranked
#
# BM25 adds up the words that a question and a passage share. A rare word counts more than a
# frequent one. The package carries 212 questions and the passages that answer them, in English and
# Portuguese. The bars are the five best passages for one question. The best one should stand out.

# %% [markdown] lang="pt"
# ## Como um trecho é ordenado
#
# O BM25 soma as palavras que a pergunta e o trecho têm em comum. Uma palavra rara vale mais do que
# uma frequente. O pacote traz 212 perguntas e os trechos que as respondem, em inglês e português.
# As barras são os cinco melhores trechos para uma pergunta. O melhor deve se destacar.

# %%
shipped = shipped_questions()
search = PassageSearch(shipped.contexts)
question = shipped.questions[6]
figure, ax = plt.subplots(figsize=(7, 2.4))
passages = search.search(question.text, top=5)
names = [f"{n}. {shipped.contexts[p.context].title}" for n, p in enumerate(passages, 1)]
right = ["tab:green" if p.context == question.context else "lightgrey" for p in passages]
ax.barh(names, [p.score for p in passages], color=right)
ax.invert_yaxis()
ax.set(xlabel="BM25 score; green: the passage that answers", title=question.text)
plt.show()

# %% [markdown] lang="en"
# ## How often is it right?
#
# Every question is asked of all passages. We count how often the right passage is among the first
# k. TF-IDF is an older way to rank; it is the line to beat.

# %% [markdown] lang="pt"
# ## Quantas vezes acerta?
#
# Cada pergunta é feita a todos os trechos. Contamos quantas vezes o trecho certo está entre os
# primeiros k. O TF-IDF é um modo mais antigo de ordenar; é a linha a superar.

# %%
tfidf = TfidfIndex([context.text for context in shipped.contexts])
TOP = 5


def ranks(rank_of) -> list[float]:
    """Return how often the right passage is among the first 1, 2, … in percent."""
    places = [rank_of(one.text).index(one.context) for one in shipped.questions]
    return [100 * sum(place < k for place in places) / len(places) for k in range(1, TOP + 1)]


everything = len(shipped.contexts)
bm25 = ranks(lambda q: [found.context for found in search.search(q, top=everything)])
older = ranks(lambda q: [row for row, _ in tfidf.search(q, everything)])
figure, ax = plt.subplots(figsize=(5, 2.8))
for values, label in ((bm25, "BM25"), (older, "TF-IDF")):
    ax.plot(range(1, TOP + 1), values, marker="o", label=label)
ax.set(xlabel="among the first", ylabel="right passage, %", ylim=(0, 100), xticks=range(1, TOP + 1))
ax.legend(loc="lower right")
ax.grid(alpha=0.3)
plt.show()

# %% [markdown] lang="en"
# ## A reader whose two sides differ
#
# A search returns a passage. A *reader* marks the words that answer. Documents are long and come
# first; questions are short and come later. So the reader has two encoders: a large one for
# documents, which runs once, and a small one for questions. The bars show their sizes.

# %% [markdown] lang="pt"
# ## Um leitor cujos dois lados são diferentes
#
# Uma busca devolve um trecho. Um *leitor* marca as palavras que respondem. Os documentos são
# longos e vêm primeiro; as perguntas são curtas e vêm depois. Por isso o leitor tem dois
# codificadores: um grande para os documentos, que roda uma vez, e um pequeno para as perguntas. As
# barras mostram os tamanhos.

# %%
tokenizer = train_tokenizer([context.text for context in shipped.contexts], vocab_size=1000)
torch.manual_seed(0)
config = qa_preset("asymmetric", "small", vocab_size=(1000, 1000))
model = AsymmetricQAModel(AsymmetricQAConfig.from_plain(config)).eval()
sides = {"questions": config.question, "contexts": config.context}
figure, ax = plt.subplots(figsize=(5, 1.8))
layers = [f"{name}\n{side.num_layers} layers of {side.d_model}" for name, side in sides.items()]
ax.barh(layers, [side.num_layers * side.d_model * side.d_model * 12 for side in sides.values()])
ax.invert_yaxis()
ax.set(xlabel="about so many parameters")
plt.show()

# %% [markdown] lang="en"
# The weights are random here, since training a good reader takes longer than a notebook should. The
# time does not depend on the weights. Compare: encode the documents for every question, or once.

# %% [markdown] lang="pt"
# Os pesos aqui são sorteados, pois treinar um bom leitor leva mais tempo do que convém a um
# notebook. O tempo não depende dos pesos. Compare: codificar os documentos a cada pergunta, ou uma
# vez.

# %%
answerer = QuestionAnswerer(model, tokenizer, tokenizer)
asked = [one.text for one in shipped.questions[:10]]
began = time.perf_counter()
index = answerer.encode(shipped.contexts)
encoding = time.perf_counter() - began
began = time.perf_counter()
for one in asked:
    answerer.answer(one, index)
answering = (time.perf_counter() - began) / len(asked)
figure, ax = plt.subplots(figsize=(6, 1.8))
ax.barh(["encoded for every question", "encoded once"], [encoding + answering, answering])
ax.invert_yaxis()
ax.set(xlabel=f"seconds for a question to {len(shipped.contexts)} passages")
plt.show()

# %% [markdown] lang="en"
# ## With your own documents
#
# On the command line:
#
# | you want | command |
# |---|---|
# | passages, without a model | `askew search --context notes/ "Who came?"` |
# | a page to ask on, in your browser | `askew serve --context notes/` |
# | a reader trained on labelled questions | `askew train qa --data squad.json --out reader` |
# | answers of that reader | `askew answer reader --context notes/ --index enc "Who came?"` |
#
# [Question answering](../../questions.md) explains each of them. This was the last notebook. Where
# to go next: [Write your own task, loss or application](../../extending.md).

# %% [markdown] lang="pt"
# ## Com os seus documentos
#
# Na linha de comando:
#
# | você quer | comando |
# |---|---|
# | trechos, sem modelo | `askew search --context notas/ "Quem veio?"` |
# | uma página para perguntar, no navegador | `askew serve --context notas/` |
# | um leitor treinado em perguntas rotuladas | `askew train qa --data squad.json --out reader` |
# | as respostas dele | `askew answer reader --context notas/ --index cod "Quem veio?"` |
#
# O guia [Question answering](../../questions.md) explica cada um. Este foi o último notebook. O
# próximo passo: [Write your own task, loss or application](../../extending.md).
