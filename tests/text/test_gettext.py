"""gettext catalogues, read and written back, with all that is not a translation left as it was."""

from pathlib import Path

import pytest

from askew.text import ParallelText, find_placeholders, read_po, translate_po

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
    found = read_po(tmp_path)
    assert (found.sources[0], found.targets[0]) == ("no", "não")
    assert found.sources[1:] == read_po(catalogue).sources


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('msgid "a"\nrubbish\n', r"must be gettext; got .*one\.po"),
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
    with pytest.raises(ValueError, match=r"must be gettext; got .*one\.po"):
        read_po(path)
    with pytest.raises(ValueError, match="the file must exist; got"):
        read_po(tmp_path / "gone.po")


def shout(texts):
    return [text.upper().replace("%S", "%s") for text in texts]


def test_fills_in_what_has_no_translation_and_marks_it(tmp_path, catalogue):
    out = tmp_path / "out.po"
    assert translate_po(catalogue, shout, out) == 1
    text = out.read_text(encoding="utf-8")
    assert '#, fuzzy\nmsgid "Save"\nmsgstr "SAVE"' in text
    for kept in ("# Notes of the team", "Abrir %s", "Fechar?", "#: b.c:7", '#~ msgid "Old"'):
        assert kept in text
    assert text.index("Open %s") < text.index("Close") < text.index("Save")
    assert read_po(out) == read_po(catalogue)
    assert catalogue.read_text(encoding="utf-8") == HEAD + BODY


def test_translates_all_anew_on_demand_and_says_what_was_lost(tmp_path, catalogue):
    out = tmp_path / "out.po"
    assert translate_po(catalogue, shout, out, overwrite=True) == 6
    text = out.read_text(encoding="utf-8")
    assert 'msgid_plural "%d files"\nmsgstr[0] "%D FILE"\nmsgstr[1] "%D FILES"' in text
    assert text.count("lost: %d") == 2 and "lost: %s" not in text
    with pytest.raises(ValueError, match="must be translated and not fuzzy"):
        read_po(out)


def test_never_overwrites_its_input_by_itself(catalogue):
    with pytest.raises(ValueError, match="out must be another file; got out"):
        translate_po(catalogue, shout, catalogue)
    assert translate_po(catalogue, shout, catalogue, overwrite=True) == 6


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("100% sure, 5 * 3 * 2, a_b_c, it's |", []),
        ("%s of %(n)d: %.2f%%", ["%(n)d", "%.2f", "%s"]),
        ("{} and {0} and {name!r:>10} but {a b}", ["{name!r:>10}", "{0}", "{}"]),
        ("``x = *y*`` and *this* **that**", ["**…**", "*…*", "``x = *y*``"]),
        (":func:`open` :ref:`the list <a.b>`", [":func:`open`", ":ref:`<a.b>`"]),
        ("|version| <b>x</b> `docs`_", ["</b>", "<b>", "`…`_", "|version|"]),
        ("see https://a.b/c?d=1, or (http://x.y).", ["http://x.y", "https://a.b/c?d=1"]),
        ("%s %s", ["%s", "%s"]),
    ],
)
def test_placeholders_and_markup_are_found(text, found):
    assert sorted(find_placeholders(text).elements()) == sorted(found)


@pytest.mark.skipif(not DATA.is_dir(), reason="the documentation's catalogues are not here")
def test_reads_all_of_a_large_documentation(tmp_path):
    import tarfile

    with tarfile.open(next(DATA.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    found = read_po(tmp_path)
    assert len(found.sources) > 35_000
    assert len(set(zip(*found, strict=True))) == len(found.sources)
