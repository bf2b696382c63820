"""gettext catalogues, read and written back, with all that is not a translation left as it was."""

from difflib import unified_diff
from pathlib import Path

import pytest
from babel.messages.pofile import read_po as babel_read

from askew.text import ParallelText, find_placeholders, placeholder_kind, read_po, translate_po

HEAD = """# Notes of the team
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

"""
BODY = """#: a.c:1
msgid "Open %s"
msgstr "Abrir %s"

# looked at by nobody
#, fuzzy
msgid "Close"
msgstr "Fechar?"

#: b.c:7
msgid "Save"
msgstr ""

msgctxt "menu"
msgid "Open %s"
msgstr "Abrir %s"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d arquivo"
msgstr[1] "%d arquivos"

msgid "two\\n"
"lines"
msgstr "duas\\n"
"linhas"

#~ msgid "Old"
#~ msgstr "Velho"
"""
DATA = Path(__file__).parents[3] / "shared" / "data" / "python_docs_pt_br"


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "one.po"
    path.write_text(HEAD + BODY, encoding="utf-8")
    return path


def test_reads_what_is_translated_and_not_fuzzy_once(catalogue):
    assert read_po(catalogue) == ParallelText(
        ["Open %s", "%d file", "%d files", "two\nlines"],
        ["Abrir %s", "%d arquivo", "%d arquivos", "duas\nlinhas"],
    )


def test_of_three_plural_forms_the_first_alone_is_sure(tmp_path):
    path = tmp_path / "ru.po"
    forms = "".join(f'msgstr[{i}] "{word}"\n' for i, word in enumerate(["файл", "файла", "файлов"]))
    head = HEAD.replace("nplurals=2; plural=(n != 1)", "nplurals=3; plural=(n%10==1 ? 0 : 2)")
    path.write_text(f'{head}msgid "file"\nmsgid_plural "files"\n{forms}', encoding="utf-8")
    assert read_po(path) == ParallelText(["file"], ["файл"])


def test_a_folder_is_all_its_files_in_order_in_their_own_encodings(tmp_path, catalogue):
    (tmp_path / "deep").mkdir()
    latin = HEAD.replace("UTF-8", "ISO-8859-1") + 'msgid "no"\nmsgstr "não"\n'
    (tmp_path / "deep" / "a.po").write_bytes(latin.encode("latin-1"))
    (tmp_path / "notes.txt").write_text("nothing")
    pairs = read_po(tmp_path)
    assert (pairs.sources[0], pairs.targets[0]) == ("no", "não")
    assert pairs.sources[1:] == read_po(catalogue).sources


def put(path, language, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{HEAD}"Language: {language}\\n"\n\nmsgid "one"\nmsgstr "{target}"\n')


@pytest.mark.parametrize(
    "places",
    [
        {"de": "locale/de/LC_MESSAGES/app.po", "fr": "locale/fr/LC_MESSAGES/app.po"},
        {"pt_BR": "po/pt_BR.po", "pt": "po/pt.po"},
        {"de": "de/app.po", "fr": "fr/app.po"},
        {"de": "one.po", "fr": "two.po"},
    ],
)
def test_a_folder_of_several_languages_is_refused_unless_one_is_named(places, tmp_path):
    for language, name in places.items():
        put(tmp_path / name, language if name in ("one.po", "two.po") else "", f"in {language}")
    names = ", ".join(sorted(one.lower() for one in places))
    with pytest.raises(ValueError, match=rf"must be of one language; got {names} in .*Name the"):
        read_po(tmp_path)
    for language, name in places.items():
        wanted = ParallelText(["one"], [f"in {language}"])
        assert read_po(tmp_path, language=language) == wanted
        assert read_po(tmp_path / name) == wanted
    with pytest.raises(ValueError, match=rf"must be one of {names} in .*; got language 'xx'"):
        read_po(tmp_path, language="xx")
    put(tmp_path / "glossary.po", "", "?")
    with pytest.raises(ValueError, match=r"must say its language.*; got none of .*glossary\.po"):
        read_po(tmp_path, language=next(iter(places)))
    with pytest.raises(ValueError, match=r"language goes with a folder; got language 'de', the"):
        read_po(tmp_path / "glossary.po", language="de")


def test_a_file_that_says_no_language_goes_with_the_only_one(tmp_path):
    put(tmp_path / "de" / "one.po", "", "eins")
    put(tmp_path / "all.po", "", "zwei")
    assert len(read_po(tmp_path).sources) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'msgid "a"\nrubbish\n',
            r"comment or a text in quotes; got 'rubbish' at .*one\.po, line 2",
        ),
        ('msgid "a"\nmsgstr "b\n', r"in quotes; got 'msgstr \"b' at .*one\.po, line 2"),
        ('msgid "a"\n\nmsgid "b"\n', r"this order; got msgid after msgid at .*one\.po, line 3"),
        ('# x\n\n"a"\n', r"this order; got a text after none of them at .*one\.po, line 3"),
        ('msgid "a"\nmsgid_plural "b"\nmsgstr[1] "c"\n', r"numbered from 0 on; got msgstr\[1\] at"),
        ('msgid "a"\n', r"a message needs msgstr; got none at .*one\.po, line 1"),
        (HEAD.replace("UTF-8", "bogus"), r"one that Python knows; got charset bogus in .*one\.po"),
        ('msgid "a"\nmsgstr ""\n', "must be translated and not fuzzy; got none in"),
        ("", "must be translated and not fuzzy; got none in"),
    ],
)
def test_refuses_what_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "one.po"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_po(path)


def test_refuses_bytes_of_another_encoding_and_missing_files(tmp_path):
    path = tmp_path / "one.po"
    path.write_bytes(HEAD.encode() + b'msgid "no"\nmsgstr "n\xe3o"\n')
    with pytest.raises(ValueError, match=r"must be UTF-8, .* got byte 0xe3 at .*one\.po, line 8"):
        read_po(path)
    with pytest.raises(ValueError, match="the file must exist; got"):
        read_po(tmp_path / "gone.po")


def shout(texts):
    return [text.upper().replace("%S", "%s").replace("\\N", "\n") for text in texts]


def changed(before, after):
    """The lines that differ, as (sign, line), in order."""
    lines = unified_diff(before.splitlines(True), after.splitlines(True), n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def test_fills_in_what_has_no_translation_and_touches_no_other_line(tmp_path, catalogue):
    out = tmp_path / "out.po"
    assert translate_po(catalogue, shout, out) == 1
    assert changed(HEAD + BODY, out.read_text(encoding="utf-8")) == [
        "+#, fuzzy\n",
        '-msgstr ""\n',
        '+msgstr "SAVE"\n',
    ]
    assert read_po(out) == read_po(catalogue)
    assert catalogue.read_text(encoding="utf-8") == HEAD + BODY
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one.po", "out.po"]


def test_translates_all_anew_on_demand_and_says_what_was_lost(tmp_path, catalogue):
    out = tmp_path / "out.po"
    assert translate_po(catalogue, shout, out, overwrite=True) == 6
    text = out.read_text(encoding="utf-8")
    assert 'msgid_plural "%d files"\nmsgstr[0] "%D FILE"\nmsgstr[1] "%D FILES"' in text
    assert 'msgid "two\\n"\n"lines"\nmsgstr ""\n"TWO\\n"\n"LINES"\n' in text
    assert text.count("# lost: %d\n") == 2
    assert "lost: %s" not in text
    assert text.count("#, fuzzy\n") == 6
    with pytest.raises(ValueError, match="must be translated and not fuzzy"):
        read_po(out)
    assert translate_po(out, shout, out, overwrite=True, in_place=True) == 6
    assert out.read_text(encoding="utf-8") == text


def test_flags_and_notes_stand_where_gettext_wants_them(tmp_path):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    path.write_text('#. auto\n#: a.c:1\n#, c-format\n#| msgid "b %s"\nmsgid "a %s"\nmsgstr ""\n')
    translate_po(path, lambda texts: ["x" for _ in texts], out)
    flagged = "# lost: %s\n#. auto\n#: a.c:1\n#, fuzzy, c-format\n"
    assert out.read_text() == f'{flagged}#| msgid "b %s"\nmsgid "a %s"\nmsgstr "x"\n'


@pytest.mark.parametrize(
    ("plurals", "forms"),
    [(1, ["FILES"]), (2, ["FILE", "FILES"]), (3, ["FILE", "FILES", "FILES"])],
)
def test_every_plural_form_is_filled_in(tmp_path, plurals, forms):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    head = HEAD.replace("nplurals=2", f"nplurals={plurals}")
    path.write_text(head + 'msgid "file"\nmsgid_plural "files"\nmsgstr[0] ""\nmsgstr[1] ""\n')
    translate_po(path, shout, out)
    lines = [f'msgstr[{i}] "{form}"' for i, form in enumerate(forms)]
    assert out.read_text().splitlines()[-plurals:] == lines


def test_lines_end_as_they_did_and_texts_as_their_sources(tmp_path):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    source = r'msgid "\na \"b\"\n"'
    path.write_bytes(f'\ufeff{source}\r\nmsgstr ""\r\n'.encode())
    translate_po(path, lambda texts: ["\\ \t" for _ in texts], out)
    lines = ["\ufeff#, fuzzy", source, 'msgstr ""', r'"\n"', r'"\\ \t\n"', ""]
    assert out.read_bytes() == "\r\n".join(lines).encode()


def test_what_is_written_reads_back_as_any_text(tmp_path):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    path.write_text('msgid "a"\nmsgstr ""\n')
    for text in ('"', "\\n", "a\n\nb", "tab\tÜ\x0c\x85 ", "c:\\new\r\nx"):
        translate_po(path, lambda texts, text=text: [text], out)
        out.write_bytes(out.read_bytes().replace(b"#, fuzzy\n", b""))
        assert read_po(out).targets == [text]
        with out.open("rb") as file:
            assert [m.string for m in babel_read(file) if m.id] == [text]


def test_writes_in_the_encoding_of_the_file_or_says_that_it_cannot(tmp_path):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    latin = HEAD.replace("UTF-8", "ISO-8859-1") + '# à\nmsgid "no"\nmsgstr ""\n'
    path.write_bytes(latin.encode("latin-1"))
    translate_po(path, lambda texts: ["não"], out)
    assert '# à\n#, fuzzy\nmsgid "no"\nmsgstr "não"\n' in out.read_text(encoding="latin-1")
    before = out.read_bytes()
    with pytest.raises(ValueError, match=r"that holds the translations; got ISO-8859-1, which has"):
        translate_po(path, lambda texts: ["нет"], out)
    assert out.read_bytes() == before


def test_never_overwrites_its_input_by_itself(catalogue):
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="out must be another file; got out"):
            translate_po(catalogue, shout, catalogue, overwrite=overwrite)
    assert translate_po(catalogue, shout, catalogue, in_place=True) == 1
    assert "Fechar?" in catalogue.read_text(encoding="utf-8")


def test_asks_for_one_translation_each_and_for_none_where_all_is_done(tmp_path, catalogue):
    with pytest.raises(ValueError, match="one translation for each text; got 0 for 1 texts"):
        translate_po(catalogue, lambda texts: [], tmp_path / "out.po")
    done = tmp_path / "done.po"
    done.write_text('msgid "a"\nmsgstr "b"\n')
    assert translate_po(done, lambda texts: 1 / 0, tmp_path / "out.po") == 0
    assert (tmp_path / "out.po").read_text() == done.read_text()


def test_an_only_form_translates_the_plural(tmp_path):
    path = tmp_path / "ja.po"
    path.write_text(
        'msgid "a file"\nmsgid_plural "%d files"\nmsgstr[0] "%d 個"\n', encoding="utf-8"
    )
    assert read_po(path) == ParallelText(["%d files"], ["%d 個"])


def test_flags_of_obsolete_messages_are_not_those_of_the_next(tmp_path):
    path = tmp_path / "one.po"
    path.write_text('#, fuzzy\n#~ msgid "x"\n#~ msgstr "y"\n\nmsgid "a"\nmsgstr "b"\n')
    assert read_po(path) == ParallelText(["a"], ["b"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100% sure, 5 * 3 * 2, a_b_c, it's |", []),
        ("%s of %(n)d: %.2f%%", ["%(n)d", "%.2f", "%s"]),
        ("{} and {0} and {name!r:>10} but {a b}", ["{name!r:>10}", "{0}", "{}"]),
        ("``x = *y*`` and *this* **that**", ["**…**", "*…*", "``x = *y*``"]),
        (":func:`open` :ref:`the list <a.b>`", [":func:`open`", ":ref:`<a.b>`"]),
        ("|version| <b>x</b> `docs`_", ["</b>", "<b>", "`…`_", "|version|"]),
        ("see https://a.b/c?d=1, or (http://x.y).", ["http://x.y", "https://a.b/c?d=1"]),
        ("`the docs <https://a.b/c>`_ and `x`__", ["`<https://a.b/c>`_", "`…`_"]),
        ("%s %s", ["%s", "%s"]),
        ("%1$s %-5.2f %lu %.*f %(a.b)s 5%% 100%%d", ["%(a.b)s", "%-5.2f", "%.*f", "%1$s", "%lu"]),
    ],
)
def test_placeholders_and_markup_are_found(text, expected):
    assert sorted(find_placeholders(text).elements()) == sorted(expected)
    assert all(placeholder_kind(one) for one in expected)


def test_every_kind_has_its_name():
    texts = {
        "role": ":ref:`a <b>`",
        "literal": "``a``",
        "link": "`a`_",
        "substitution": "|a|",
        "address": "https://a.b",
        "tag": "<a>",
        "printf": "%(a)s",
        "field": "{a}",
        "strong": "**a**",
        "emphasis": "*a*",
    }
    placeholders = {kind: find_placeholders(text) for kind, text in texts.items()}
    assert {
        kind: [placeholder_kind(one) for one in ones] for kind, ones in placeholders.items()
    } == {kind: [kind] for kind in texts}
    with pytest.raises(ValueError, match="a placeholder is needed; got 'plain'"):
        placeholder_kind("plain")


@pytest.mark.skipif(not DATA.is_dir(), reason="the documentation's catalogues are not here")
def test_reads_all_of_a_large_documentation(tmp_path):
    import tarfile

    with tarfile.open(next(DATA.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    pairs = read_po(tmp_path)
    unequal = [pair for pair in zip(*pairs, strict=True) if pair[0] != pair[1]]
    assert (len(pairs.sources), len(unequal)) == (48_360, 38_479)
    assert len(set(zip(*pairs, strict=True))) == 48_360
    for path in sorted(tmp_path.rglob("*.po"))[:40]:
        with path.open("rb") as file:
            theirs = [(m.id, m.string) for m in babel_read(file) if m.id and m.string]
        assert not theirs or list(zip(*read_po(path), strict=True)) == list(dict.fromkeys(theirs))
