"""The page itself, in English and Portuguese."""

from collections.abc import Collection
from html import escape
from pathlib import Path
from string import Template

_FOLDER = Path(__file__).parent
_KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_WORDS = {
    "en": {
        "title": "Ask your documents",
        "question": "Question",
        "search": "Search",
        "answer": "Answer",
        "translate": "Translate",
        "texts": "Text to translate, a line for each sentence",
        "page": "page",
        "nothing": "Nothing found.",
        "unsure": "More likely, there is no answer in the documents.",
        "failed": "That did not work: ",
        "close": "Close",
        "wait": "One moment …",
        "other": "Português",
        "other_lang": "pt",
    },
    "pt": {
        "title": "Pergunte aos seus documentos",
        "question": "Pergunta",
        "search": "Buscar",
        "answer": "Responder",
        "translate": "Traduzir",
        "texts": "Texto a traduzir, uma linha por frase",
        "page": "página",
        "nothing": "Nada encontrado.",
        "unsure": "É mais provável que não haja resposta nos documentos.",
        "failed": "Não deu certo: ",
        "close": "Fechar",
        "wait": "Um momento …",
        "other": "English",
        "other_lang": "en",
    },
}


def page(language: str, works: Collection[str]) -> str:
    """Write the page.

    Args:
        language: What a browser asks for; Portuguese if it begins with "pt", else English.
        works: What can be asked for: "search", "answer", "translate".

    Returns:
        HTML, in which nothing of a user or a document stands.
    """
    lang = "pt" if language.lower().startswith("pt") else "en"
    words = {name: escape(text, quote=True) for name, text in _WORDS[lang].items()}
    hidden = {f"no_{name}": "" if name in works else "hidden" for name in ("search", "answer")}
    hidden["no_translate"] = "" if "translate" in works else "hidden"
    hidden["no_question"] = "" if {"search", "answer"} & set(works) else "hidden"
    template = Template((_FOLDER / "page.html").read_text(encoding="utf-8"))
    return template.substitute(words | hidden, lang=lang)


def asset(path: str) -> tuple[str, str]:
    """Return "/page.js" or "/page.css", which the routes name, and its type."""
    name = {"/page.js": "page.js", "/page.css": "page.css"}[path]
    return (_FOLDER / name).read_text(encoding="utf-8"), _KINDS[Path(name).suffix]
