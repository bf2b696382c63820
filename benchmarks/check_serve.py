"""Ask the page of `askew serve` in headless Chromium, as its readers do, and fail on every problem.

    python benchmarks/check_serve.py [--shots FOLDER] [--chromium PATH]

Asks by keyboard about documents whose names and texts are scripts; opens a document at its passage.
Nothing may run or be fetched from elsewhere, nothing may be wider than the window, and the console
stays empty.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check_report import WIDE, Browser

EVIL = "<script>document.title='run'</script><img src=x onerror=document.title='run'>"
SENTENCE = "Anna lives in Rome."


def ask(browser: Browser, question: str) -> None:
    browser.value("document.getElementById('found').replaceChildren()")
    browser.value(f"document.getElementById('question').value = {json.dumps(question)}")
    browser.value("document.getElementById('question').focus()")
    for kind in ("keyDown", "keyUp"):
        more = {"key": "Enter", "code": "Enter", "text": "\r"} if kind == "keyDown" else {}
        browser("Input.dispatchKeyEvent", type=kind, windowsVirtualKeyCode=13, **more)
    wait(browser, "document.querySelectorAll('#found li').length > 0")


def wait(browser: Browser, expression: str) -> None:
    for _ in range(100):
        if browser.value(expression):
            return
        time.sleep(0.1)


def checked_language(browser: Browser, language: str, title: str, shots: Path | None) -> list[str]:
    problems = []
    for question in (EVIL, "Who lives in Rome?"):
        ask(browser, question)
    found = browser.value("document.querySelector('#found mark').textContent")
    problems += [] if found == SENTENCE else [f"{language}: found is {found!r}"]
    for width in (400, 900, 1600):
        for scheme in ("light", "dark"):
            browser.show(width, scheme)
            wide = browser.value(WIDE)
            problems += [f"{language}, {width} px: too wide: {tag}" for tag in wide]
            if shots:
                browser.shot(shots / f"{language}-{width}-{scheme}.png")
    browser.value("document.querySelector('#found button').click()")
    wait(browser, "document.getElementById('document').open")
    mark = browser.value("document.querySelector('#text mark')?.textContent")
    problems += [] if mark == SENTENCE else [f"{language}: shown is {mark!r}"]
    if shots:
        browser.shot(shots / f"{language}-document.png", whole=False)
    if browser.value("document.title") != title:
        problems.append(f"{language}: a script of a document ran")
    if browser.value("document.querySelectorAll('main img, dialog img, main script').length"):
        problems.append(f"{language}: markup of a document is markup of the page")
    return problems


def check(browser: Browser, url: str, shots: Path | None) -> list[str]:
    problems = []
    for language, title in (("en", "Ask your documents"), ("pt", "Pergunte aos seus documentos")):
        browser.open(f"{url}?lang={language}")
        problems += checked_language(browser, language, title, shots)
    for event in browser.events:
        about = event.get("params", {})
        if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
            problems.append(f"console: {about}")
        wanted = about.get("request", {}).get("url", url)
        if not wanted.startswith(url):
            problems.append(f"network: {wanted[:120]}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", type=Path, help="where pictures are kept")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    options = parser.parse_args()
    if options.chromium is None:
        sys.exit("check_serve: Chromium is needed; got none. Name it by --chromium")
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        long = "Words come before. " * 500
        text = f"# {EVIL}\n\n{EVIL}\n\n{long}\n\n😀 😀 here.\n{SENTENCE}\n\n{long}"
        Path(folder, "<img src=x onerror=alert(1)>.md").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "askew", "serve", "--context", folder, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            browser = Browser(options.chromium)
            try:
                problems = check(browser, server.stdout.readline().strip(), options.shots)
            finally:
                browser.close()
                server.terminate()
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"askew serve: {len(problems)} faults")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
