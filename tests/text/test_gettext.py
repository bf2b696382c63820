"""gettext catalogues, read and written back, with all that is not a translation left as it was."""

import shutil
import subprocess
import time
from collections import Counter
from difflib import unified_diff
from gettext import GNUTranslations
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


def test_messages_that_are_left_out_are_counted(catalogue):
    left_out = Counter()
    read_po(catalogue, left_out=left_out)
    assert left_out == {"untranslated or fuzzy": 2, "repeated": 1}


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


def test_a_folder_without_catalogues_is_named_as_one(tmp_path):
    (tmp_path / "page.md").write_text("text")
    with pytest.raises(ValueError, match=r"read_po: a folder must hold \.po files; got none in"):
        read_po(tmp_path)


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
        ("%n files, %1 of %L2 (%10)", ["%1", "%10", "%L2", "%n"]),
        ("%(user-name)s and %(a b)d", ["%(a b)d", "%(user-name)s"]),
        ("in %ds, %dpx, 3 %s, 100%s", ["%d", "%d", "%s", "%s"]),
        ("100%ige Lösung, 100 %ige, 50%der, 20%änd, 5 %1", []),
        ("a<b and c>d, x < y > z, <file name>", []),
        (
            '<a href="x>y" download>t</a> <br/> <0>r</0>',
            ['<a href="x>y" download>', "</0>", "</a>", "<0>", "<br/>"],
        ),
        (
            "&amp; &#160; &#xA0; &brandShortName; &File AT&T; x",
            ["&#160;", "&#xA0;", "&amp;", "&brandShortName;"],
        ),
        (
            "{$n} { $user } { -brand-name } {{ a.b }} {{c}} ${d} %{e}",
            ["${d}", "%{e}", "{ $user }", "{ -brand-name }", "{$n}", "{{ a.b }}", "{{c}}"],
        ),
        ("{n, plural, one {# file} other {# of {m, number}}} left", ["{n, plural, …}"]),
        ("{ $n ->\n [one] a\n *[other] { $n } b\n}", ["{$n -> …}"]),
        (
            "{d, date, short} {g, select, male {he} other {they}}",
            ["{d, date, …}", "{g, select, …}"],
        ),
        ("<me@x.org>, (you+a@y.co.uk)", ["me@x.org", "you+a@y.co.uk"]),
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
        "entity": "&amp;",
        "message": "{n, plural, other {#}}",
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


@pytest.mark.slow
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


def plural_head(rule):
    return HEAD.replace("nplurals=2; plural=(n != 1)", rule)


SLOVENIAN = "nplurals=4; plural=(n%100==1 ? 1 : n%100==2 ? 2 : n%100==3 || n%100==4 ? 3 : 0)"
ARABIC = (
    "nplurals=6; plural=(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 "
    ": n%100>=11 ? 4 : 5)"
)
COUNTED = 'msgid "file"\nmsgid_plural "files"\n'


def forms_of(*texts):
    return "".join(f'msgstr[{i}] "{text}"\n' for i, text in enumerate(texts))


@pytest.mark.parametrize(
    ("rule", "forms", "pairs"),
    [
        (SLOVENIAN, "0123", [("file", "1")]),
        (ARABIC, "012345", [("file", "1")]),
        ("nplurals=2; plural=(n > 1)", "01", [("file", "0"), ("files", "1")]),
        ("nplurals=2; plural=(n == 1)", "01", [("files", "0"), ("file", "1")]),
        ("nplurals=1; plural=0", "0", [("files", "0")]),
        ("nplurals=INTEGER; plural=EXPRESSION", "01", [("file", "0"), ("files", "1")]),
    ],
)
def test_plural_forms_are_paired_by_the_rule_of_the_catalogue(tmp_path, rule, forms, pairs):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    path.write_text(plural_head(rule) + COUNTED + forms_of(*forms))
    assert sorted(zip(*read_po(path), strict=True)) == sorted(pairs)
    path.write_text(plural_head(rule) + COUNTED + forms_of(*("" for _ in forms)))
    translate_po(path, shout, out)
    singular = dict(pairs).get("file")
    assert out.read_text().endswith(
        forms_of(*("FILE" if i == singular else "FILES" for i in forms))
    )


def test_of_a_plural_message_only_empty_and_missing_forms_are_filled_in(tmp_path):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    start = plural_head(SLOVENIAN) + COUNTED
    path.write_text(start + forms_of("", "datoteka", ""))
    assert translate_po(path, shout, out) == 1
    assert out.read_text() == start.replace('msgid "file"', '#, fuzzy\nmsgid "file"') + forms_of(
        "FILES", "datoteka", "FILES", "FILES"
    )
    assert translate_po(out, lambda texts: 1 / 0, path) == 0
    assert translate_po(out, shout, path, overwrite=True) == 1
    assert "datoteka" not in path.read_text()


def test_a_header_may_stand_anywhere_and_a_context_alone_is_no_message(tmp_path):
    path = tmp_path / "one.po"
    head = plural_head(SLOVENIAN).replace("UTF-8", "ISO-8859-2")
    text = 'msgid "a"\nmsgstr "č"\n\nmsgctxt "x"\nmsgid ""\nmsgstr ""\n"charset=UTF-8\\n"\n\n'
    path.write_bytes((text + head + COUNTED + forms_of("č", "š", "", "")).encode("iso-8859-2"))
    assert read_po(path) == ParallelText(["a", "file"], ["č", "š"])


TAKEN_BY_MSGFMT = {
    "strings on one line": ('msgid "a" "b"\nmsgstr "c" "d"\n', "ab", "cd"),
    "a domain": ('domain "x"\nmsgid "ab"\nmsgstr "cd"\n', "ab", "cd"),
    "octal": (r'msgid "\101\x42"' + "\n" + r'msgstr "\303\251"' + "\n", "AB", "é"),
    "control letters": (r'msgid "\a\b\f\v"' + '\nmsgstr "c"\n', "\a\b\f\v", "c"),
    "one line": ('msgid "a" msgstr "b"\n', "a", "b"),
    "no spaces": ('msgid"a"\nmsgstr"b"\n', "a", "b"),
    "a continued line": ('msgid "a\\\nb"\nmsgstr "c"\n', "ab", "c"),
    "a comment after it": ('msgid "a"\nmsgstr "b" # of the next\n', "a", "b"),
    "spaces in a form": ('msgid "a"\nmsgid_plural "b"\nmsgstr [ 0 ]"c"\nmsgstr[1]"d"', "a", "c"),
}


@pytest.mark.parametrize(
    ("text", "source", "target"), TAKEN_BY_MSGFMT.values(), ids=TAKEN_BY_MSGFMT
)
def test_what_msgfmt_takes_is_read(tmp_path, text, source, target):
    path = tmp_path / "one.po"
    path.write_text(HEAD + text, encoding="utf-8")
    pairs = read_po(path)
    assert (pairs.sources[0], pairs.targets[0]) == (source, target)
    if shutil.which("msgfmt"):
        compiled = tmp_path / "one.mo"
        subprocess.run(["msgfmt", "-o", compiled, path], check=True)
        with compiled.open("rb") as file:
            assert GNUTranslations(file).gettext(source) == target


def test_messages_on_one_line_are_filled_in_where_they_stand(tmp_path):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    path.write_text('msgid "a" msgstr "b" msgid "c" msgstr "" # end\n# x\nmsgid "d" "e" msgstr ""')
    assert translate_po(path, shout, out) == 2
    assert out.read_text() == (
        'msgid "a" msgstr "b" \n#, fuzzy\nmsgid "c" msgstr "C" # end\n'
        '# x\n#, fuzzy\nmsgid "d" "e" msgstr "DE"'
    )


def test_names_of_catalogues_in_any_case(tmp_path, catalogue):
    (tmp_path / "deep").mkdir()
    catalogue.rename(tmp_path / "deep" / "A.PO")
    (tmp_path / "messages.pot").write_text('msgid "a"\nmsgstr ""\n')
    assert len(read_po(tmp_path).sources) == 4


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (HEAD.encode("utf-16"), r"with ASCII in it; got UTF-16 or a NUL byte in .*one\.po"),
        (HEAD.encode("utf-16-le"), r"with ASCII in it; got UTF-16 or a NUL byte in .*one\.po"),
        (plural_head("nplurals=2; plural=n%0").encode(), "have a rule such as .*; got .*one.po"),
        (plural_head("nplurals=2; plural=(n").encode(), "have a rule such as .*; got .*one.po"),
        (plural_head("nplurals=2").encode(), "have a rule such as .*; got .*one.po"),
        (plural_head("nplurals=2; plural=n").encode(), "one of 2 forms; got nplurals=2; plural=n"),
        (rb'msgid "\303"', r"escaped bytes must be UTF-8; got \\303 at .*one\.po, line 1"),
    ],
)
def test_names_what_is_wrong_with_encodings_and_plural_rules(tmp_path, raw, message):
    path = tmp_path / "one.po"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        read_po(path)


@pytest.mark.parametrize(
    "placeholder",
    ["%n", "%1", "%(user-name)s", "{ $n }", "{{name}}", "&nbsp;", "{n, plural, other {#}}", "%{a}"],
)
def test_a_lost_placeholder_is_always_marked(tmp_path, placeholder):
    path, out = tmp_path / "one.po", tmp_path / "out.po"
    path.write_text(f'msgid "a {placeholder} b"\nmsgstr ""\n')
    translate_po(path, lambda texts: [text.replace(placeholder, "") for text in texts], out)
    (kept,) = find_placeholders(placeholder)
    assert out.read_text().startswith(f"# lost: {kept}\n#, fuzzy\n")
    translate_po(path, list, out)
    assert "# lost:" not in out.read_text()


@pytest.mark.parametrize(
    "piece",
    ["{n, plural, ", "{ $n -> ", "a", "<a b=", "%(", "&a", "{{a", "a@b.", "100%i", "{a,plural,{b}"],
)
def test_long_texts_are_searched_in_little_time(piece):
    text = piece * (20_000 // len(piece))
    start = time.process_time()
    find_placeholders(text)
    assert time.process_time() - start < 2
