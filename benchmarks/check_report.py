"""Open a report in headless Chromium, as its readers do, and fail on every problem.

    python benchmarks/check_report.py FOLDER_OR_PAGE [--shots FOLDER] [--chromium PATH]

Checks at 400, 900 and 1600 pixels, light and dark: no error on the console, no request to anywhere,
nothing wider than the window, no words cut off; with the keyboard alone: every link, switch and
section that opens is reached, in the order of the page, and seen to be; printed: a PDF of more than
one page. Needs a Chromium, and nothing of Python's beyond what Askew needs itself.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDTHS = (400, 900, 1600)
MOST_BYTES = 6_000_000
# Everything that sticks out of the window and is not inside something that scrolls.
WIDE = """[...document.querySelectorAll("body *")].filter(one => {
  const box = one.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1) 
    && !one.closest(".scroll, pre, #js-plotly-tester");
}).slice(0, 5).map(one => one.outerHTML.slice(0, 120))"""
# Words of charts outside of their chart, and ticks and titles on top of each other.
CUT = """[...document.querySelectorAll(".plot")].flatMap(plot => {
  const frame = plot.getBoundingClientRect();
  const words = [...plot.querySelectorAll("text")]
    .map(t => [t.textContent, t.getBoundingClientRect()]).filter(([_, box]) => box.width);
  const cut = words.filter(([_, b]) => b.left < frame.left - 1 || b.right > frame.right + 1
    || b.bottom > frame.bottom + 1 || b.top < frame.top - 1).map(([t]) => "cut: " + t);
  const over = words.flatMap(([t, a], i) => words.slice(i + 1).filter(([_, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
    .map(([u]) => `overlap: ${t} / ${u}`));
  return [...cut, ...over];
}).slice(0, 8)"""
UNFIT = """[...document.querySelectorAll(".plot > .plot-container")].filter(one => {
  const inner = one.querySelector(".main-svg");
  return inner && Math.abs(inner.getBoundingClientRect().width - one.parentNode.clientWidth) > 1;
}).length"""
EMPTY = """[...document.querySelectorAll(".plot")].filter(p => !p.closest("details:not([open])")
  && !p.querySelector(".main-svg")).length"""
FOCUS = """(() => { const one = document.activeElement; if (one === document.body) return null;
  const style = getComputedStyle(one);
  return { what: one.tagName.toLowerCase(), text: one.textContent.trim().slice(0, 40),
    place: [...document.querySelectorAll("*")].indexOf(one),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1 }; })()"""
REACHED = """[...document.querySelectorAll("a[href], summary, input:checked, pre[tabindex]")]
  .filter(one => !one.closest("details:not([open])") || one.tagName === "SUMMARY").length"""


class Browser:
    """A headless Chromium, spoken to over two pipes by the DevTools protocol."""

    def __init__(self, program: str) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self.home = tempfile.mkdtemp()
        flags = "--headless=new --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run"
        flags += f" --disable-background-networking --user-data-dir={self.home}"
        start = f'exec "$0" {flags} about:blank 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", start, program],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.read, self.write = os.fdopen(ours_in, "rb", 0), os.fdopen(ours_out, "wb", 0)
        self.rest, self.count, self.session, self.events = b"", 0, None, []
        page = next(t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page")
        target = {"targetId": page["targetId"], "flatten": True}
        self.session = self("Target.attachToTarget", **target)["sessionId"]
        self("Emulation.setScrollbarsHidden", hidden=True)
        for domain in ("Page", "Network", "Log", "Runtime"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **settings: object) -> dict:
        self.count += 1
        message = {"id": self.count, "method": method, "params": settings}
        if self.session:
            message["sessionId"] = self.session
        self.write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self) -> dict:
        while b"\0" not in self.rest:
            chunk = self.read.read(1 << 20)
            if not chunk:
                raise RuntimeError("Chromium ended")
            self.rest += chunk
        line, _, self.rest = self.rest.partition(b"\0")
        return json.loads(line)

    def open(self, url: str) -> None:
        self("Page.navigate", url=url)
        while self.value("document.readyState") != "complete":
            time.sleep(0.1)

    def value(self, expression: str) -> object:
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get(
            "value"
        )

    def show(self, width: int, scheme: str) -> None:
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self("Emulation.setEmulatedMedia", features=media)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self("Emulation.setDeviceMetricsOverride", **screen)
        time.sleep(0.6)
        for _ in range(100):  # charts follow the window one after the other
            if not self.value(UNFIT):
                break
            time.sleep(0.2)

    def press(self, key: str) -> None:
        code = {"Tab": 9, " ": 32, "ArrowRight": 39, "Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if key == " " and kind == "keyDown" else {}
            more = {"key": key, "code": "Space" if key == " " else key, **text}
            self("Input.dispatchKeyEvent", type=kind, windowsVirtualKeyCode=code, **more)

    def shot(self, path: Path, *, whole: bool = True) -> None:
        image = self("Page.captureScreenshot", captureBeyondViewport=whole, format="png")
        path.write_bytes(base64.b64decode(image["data"]))

    def close(self) -> None:
        with contextlib.suppress(RuntimeError, BrokenPipeError):
            self("Browser.close")
        self.process.wait(timeout=20)
        shutil.rmtree(self.home, ignore_errors=True)


def console_problems(events: list[dict], url: str) -> list[str]:
    """Return errors on the console, and requests for anything but the page and its contents."""
    problems = []
    for event in events:
        method, about = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            problems.append(f"console: {about['exceptionDetails']['text']}")
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            problems.append(f"console: {about['args'][0].get('value')}")
        elif method == "Log.entryAdded":
            problems.append(f"console: {about['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            wanted = about["request"]["url"]
            if wanted != url and not wanted.startswith(("data:", "blob:", "about:")):
                problems.append(f"network: {wanted[:120]}")
    return problems


def checked_layout(browser: Browser, shots: Path | None) -> list[str]:
    problems = []
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            browser.show(width, scheme)
            where = f"{width} px, {scheme}"
            inner = browser.value("document.documentElement.scrollWidth")
            problems += [f"{where}: the page is {inner} px wide"] if inner > width else []
            problems += [f"{where}: too wide: {tag}" for tag in browser.value(WIDE)]
            problems += [f"{where}: {words}" for words in browser.value(CUT)]
            empty = browser.value(EMPTY)
            problems += [f"{where}: {empty} charts are empty"] if empty else []
            if shots:
                browser.shot(shots / f"{width}-{scheme}.png")
    return problems


def checked_keyboard(browser: Browser) -> list[str]:
    """Tab through the page: in order, with a ring, past everything that can be used."""
    browser.show(900, "light")
    browser.value("document.activeElement.blur()")
    expected, seen, problems = browser.value(REACHED), [], []
    while len(seen) < 2000:
        browser.press("Tab")
        one = browser.value(FOCUS)
        if one is None or (seen and one["place"] <= seen[-1]["place"]):
            break
        seen.append(one)
        if not one["ring"]:
            problems.append(f"keyboard: no ring around {one['what']} {one['text']!r}")
    usable = [one for one in seen if one["what"] in ("a", "summary", "input", "pre")]
    if len(usable) != expected:
        problems.append(
            f"keyboard: {len(usable)} of {expected} links, switches and sections reached"
        )
    before = browser.value('document.querySelectorAll("details[open]").length')
    browser.value('document.querySelector("summary")?.focus()')
    browser.press(" ")
    if browser.value('document.querySelector("summary")') is not None:
        opened = browser.value('document.querySelectorAll("details[open]").length')
        problems += [] if abs(opened - before) == 1 else ["keyboard: space opens no section"]
    visible = '[...document.querySelectorAll(".layer")].map(l => getComputedStyle(l).visibility)'
    browser.value('document.querySelector("input[type=radio]")?.focus()')
    first = browser.value(visible)
    browser.press("ArrowRight")
    if len(first) > 1 and browser.value(visible) == first:
        problems.append("keyboard: the learning curves do not switch by an arrow")
    return problems


def checked_open(browser: Browser, shots: Path | None) -> list[str]:
    """With everything open, at the narrowest and the widest."""
    browser.value('document.querySelectorAll("details").forEach(one => one.open = true)')
    problems = []
    for width in (WIDTHS[0], WIDTHS[-1]):
        browser.show(width, "light")
        time.sleep(1)
        problems += [f"{width} px, open: too wide: {tag}" for tag in browser.value(WIDE)]
        problems += [f"{width} px, open: {words}" for words in browser.value(CUT)]
        if shots:
            browser.shot(shots / f"{width}-open.png")
    return problems


def checked_print(browser: Browser, shots: Path | None) -> list[str]:
    browser.show(900, "light")
    printed = browser("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
    pdf = base64.b64decode(printed["data"])
    if shots:
        (shots / "printed.pdf").write_bytes(pdf)
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    return [] if pages > 1 else [f"print: {pages} pages"]


def check(page: Path, program: str, shots: Path | None) -> list[str]:
    """Everything that is wrong with a page."""
    size = page.stat().st_size
    problems = [f"size: {size:,} bytes, more than {MOST_BYTES:,}"] if size > MOST_BYTES else []
    url = page.resolve().as_uri()
    browser = Browser(program)
    try:
        browser.open(url)
        problems += checked_layout(browser, shots)
        problems += checked_keyboard(browser)
        browser.open(url)
        problems += checked_open(browser, shots)
        browser.open(url)
        problems += checked_print(browser, shots)
        return problems + console_problems(browser.events, url)
    finally:
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, help="report.html, or the folder that holds it")
    parser.add_argument("--shots", type=Path, help="where pictures and a PDF are kept")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    options = parser.parse_args()
    if options.chromium is None:
        sys.exit("check_report: Chromium is needed; got none. Name it by --chromium")
    page = options.page / "report.html" if options.page.is_dir() else options.page
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    problems = check(page, options.chromium, options.shots)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{page}: {page.stat().st_size:,} bytes, {len(problems)} faults")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
