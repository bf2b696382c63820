"""XLIFF and TMX: read, filled in, and refused where they are damaged or hostile."""

import gzip
import re
import time
from collections import Counter

import pytest

from askew.text import ParallelText, numbered_pairs, read_pairs, translate_xliff

UNITS = """
  <file original="a.c" source-language="en" target-language="de" datatype="plaintext"><body>
    <!-- kept <source>no</source> -->
    <trans-unit  id='1'><source>Open <g id="x">file</g></source>
      <target state="translated">Öffne <g id="x">Datei</g></target><alt-trans><source>a</source>
      <target>b</target></alt-trans></trans-unit>
    <trans-unit id="2"><source>Close &amp; &#103;o</source></trans-unit>
    <trans-unit id="3" translate="no"><source>ID</source></trans-unit>
    <trans-unit id="4"><source>Save %s<x id="y>z"/></source><target xml:lang="de"/></trans-unit>
    <trans-unit id="5"><source>Maybe</source><target state="needs-review-translation">F</target>
    </trans-unit>
    <group translate="no"><trans-unit id="6"><source>X</source></trans-unit></group>
    <trans-unit id="7"><source><![CDATA[a < b]]></source><target></target><note/></trans-unit>
  </body></file>
"""
ONE = f'\ufeff<?xml version="1.0" encoding="UTF-8"?>\r\n<xliff version="1.2">{UNITS}</xliff>\n'
TWO = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en">
 <file id="f"><unit id="1"><segment><source>Open</source></segment></unit>
 <unit id="2"><segment state="translated"><source>Close</source><target>Zu</target></segment>
 <segment state="initial"><source>Save</source><target>?</target></segment></unit></file></xliff>
"""
TMX = """<?xml version="1.0"?>
<!DOCTYPE tmx SYSTEM "http://127.0.0.1:9/tmx14.dtd">
<tmx version="1.4"><header segtype="sentence" srclang="en" datatype="plaintext"/><body>
<tu><tuv xml:lang="en-GB"><seg>Hi <bpt i="1">&lt;b&gt;</bpt>x</seg></tuv>
    <tuv xml:lang="de"><seg>Hallo</seg></tuv></tu>
<tu><tuv xml:lang="DE"><prop>p</prop><seg>Welt</seg></tuv>
    <tuv lang="en-gb"><seg>World</seg></tuv></tu>
<tu><tuv xml:lang="de"><seg>allein</seg></tuv></tu>
</body></tmx>
"""


ONLY_ENGLISH = '<tu><tuv xml:lang="en-gb"><seg>Alone</seg></tuv></tu>'


def put(path, text):
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def shout(texts):
    return [re.sub(r"[a-z]+(?![^<]*>)", lambda word: word[0].upper(), text) for text in texts]


@pytest.mark.parametrize("name", ["a.xlf", "a.xliff", "A.XLF.gz"])
def test_finished_units_of_xliff_are_read(tmp_path, name):
    path = put(tmp_path / name, ONE)
    assert list(numbered_pairs(path)) == [
        (1, 'Open <g id="x">file</g>', 'Öffne <g id="x">Datei</g>')
    ]
    assert read_pairs(put(path, TWO)) == ParallelText(["Close"], ["Zu"])
    prefixed = re.sub(r"(</?)(?=\w)", r"\1x:", TWO)
    assert read_pairs(put(path, prefixed)) == ParallelText(["Close"], ["Zu"])


def test_languages_of_a_tmx_are_read(tmp_path):
    path = put(tmp_path / "a.tmx", TMX)
    expected = [(1, "Hi <b>x", "Hallo"), (2, "World", "Welt")]
    assert list(numbered_pairs(path)) == expected
    assert list(numbered_pairs(path, columns=("en", "de"))) == expected
    backwards = read_pairs(path, columns=("de", "EN-gb"))
    assert backwards == ParallelText(["Hallo", "Welt"], ["Hi <b>x", "World"])
    put(path, TMX.replace('lang="DE"', 'lang="fr"'))
    with pytest.raises(ValueError, match="languages must be named; got de, en-gb, fr in"):
        read_pairs(path)
    with pytest.raises(ValueError, match=r"languages of the TMX; got 'pt', .* has de, en-gb"):
        read_pairs(path, columns=("en", "pt"))


def test_units_that_are_left_out_are_counted(tmp_path):
    for name, text, reason in (
        ("a.xlf", ONE, "not translated or not finished"),
        ("a.tmx", TMX.replace("</body>", ONLY_ENGLISH + "</body>"), "not in both languages"),
    ):
        left_out = Counter()
        rows = list(numbered_pairs(put(tmp_path / name, text), left_out=left_out))
        units = text.count("<trans-unit") + text.count("<tu>") + text.count("<tu ")
        assert left_out == {reason: units - len(rows)}
        assert units > len(rows)


def test_xliff_is_filled_in_and_every_other_byte_stays(tmp_path):
    path, out = put(tmp_path / "a.xlf", ONE), tmp_path / "b.xlf"
    assert translate_xliff(path, shout, out) == 3
    state = ' state="needs-review-translation"'
    text = out.read_bytes().decode()
    lines = dict(zip(ONE.splitlines(), text.splitlines(), strict=True))
    changed = [new for old, new in lines.items() if old != new]
    assert changed == [
        '    <trans-unit id="2"><source>Close &amp; &#103;o</source>'
        f"<target{state}>CLOSE &amp; GO</target></trans-unit>",
        '    <trans-unit id="4"><source>Save %s<x id="y>z"/></source>'
        f'<target xml:lang="de"{state}>SAVE %S<x id="y>z"/></target><!-- lost: %s --></trans-unit>',
        '    <trans-unit id="7"><source><![CDATA[a < b]]></source>'
        f"<target{state}>A &lt; B</target><note/></trans-unit>",
    ]
    assert text.count("\r\n") == 1
    assert translate_xliff(out, lambda texts: 1 / 0, tmp_path / "c.xlf") == 0
    assert (tmp_path / "c.xlf").read_bytes() == out.read_bytes()
    assert translate_xliff(out, lambda texts: texts, out, overwrite=True, in_place=True) == 5
    assert "lost" not in out.read_text(encoding="utf-8")


def test_segments_of_xliff_2_and_prefixes_are_filled_in(tmp_path):
    path, out = tmp_path / "a.xlf", tmp_path / "b.xlf"
    for prefix in ("", "x:"):
        text = re.sub(r"(</?)(?=\w)", rf"\1{prefix}", TWO)
        assert translate_xliff(put(path, text), shout, out) == 1
        source = f"Open</{prefix}source>"
        target = f"<{prefix}target>OPEN</{prefix}target>"
        assert out.read_text() == text.replace(source, source + target)
    assert translate_xliff(path, shout, out, overwrite=True) == 3
    assert out.read_text().count("state=") == 2


@pytest.mark.parametrize(
    ("translated", "target", "lost"),
    [
        ('<g id="1">a</g> <x/>', '<g id="1">a</g> <x/>', ""),
        ('<x/> <g id="1">a & b</g>', '<x/> <g id="1">a &amp; b</g>', ""),
        ('</g>a<g id="1"><x/>', "a", '</g> <g id="1"> <x/>'),
        ('<g id="1">a</g>', "a", '</g> <g id="1"> <x/>'),
        ("a <x/><x/>", "a ", '</g> <g id="1"> <x/>'),
        ("a -- b ]]>", "a -- b ]]&gt;", '</g> <g id="1"> <x/>'),
    ],
)
def test_inline_codes_are_all_there_or_all_named(tmp_path, translated, target, lost):
    unit = '<trans-unit><source><g id="1">A</g> <x/></source></trans-unit>'
    path, out = put(tmp_path / "a.xlf", f"<xliff>{unit}</xliff>"), tmp_path / "b.xlf"
    translate_xliff(path, lambda texts: [translated], out)
    note = f"<!-- lost: {lost} -->" if lost else ""
    assert f">{target}</target>{note}</trans-unit>" in out.read_text()
    translate_xliff(out, lambda texts: texts, path)  # what is written can be read


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 9))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xlf", "<xliff><file>", r"whole XML; got no element found: .* in \S+a\.xlf"),
        ("a.xlf", "", r"whole XML; got no element found"),
        ("a.xlf", TMX, r"must be XLIFF; got <tmx> in"),
        ("a.tmx", ONE, r"must be TMX; got <xliff> in"),
        (
            "a.xlf",
            f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><xliff>&l8;</xliff>',
            "define entities",
        ),
        ("a.xlf", '<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]><xliff>&e;</xliff>', "entities"),
        ("a.xlf", ONE.replace("UTF-8", "ISO-8859-1"), "must be in UTF-8; got another encoding in"),
        ("a.xlf", "<xliff><trans-unit><source>a</source></trans-unit></xliff>", "must hold a pair"),
        ("a.tmx", '<tmx><header srclang="*all*"/></tmx>', "languages must be named; got  in"),
    ],
)
def test_damaged_and_hostile_files_are_refused(tmp_path, name, text, message):
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        read_pairs(put(tmp_path / name, text))
    assert time.process_time() - start < 2


def test_refuses_itself_columns_and_half_the_translations(tmp_path):
    path = put(tmp_path / "a.xlf", ONE)
    with pytest.raises(ValueError, match="out must be another file; got out"):
        translate_xliff(path, shout, path)
    with pytest.raises(ValueError, match="one translation for each text; got 0 for 3 texts"):
        translate_xliff(path, lambda texts: [], tmp_path / "b.xlf")
    with pytest.raises(ValueError, match=r"XLIFF has no columns; got columns \('en', 'de'\)"):
        read_pairs(path, columns=("en", "de"))
