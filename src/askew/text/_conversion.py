"""Documents of other formats turned into text, by a process that may be killed."""

import json
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_WORKER = Path(__file__).with_name("_document_worker.py")
_MOST_SECONDS = 60.0


class Converter:
    """Reads PDF, HTML, DOCX, EPUB, mail and notebooks in a process of its own.

    The libraries that parse them are given files of strangers. One that crashes, hangs or fills the
    memory ends with that process, and the next document gets another one.

    Args:
        caller: What errors name.
        seconds: What a document may take at most.
    """

    def __init__(self, caller: str, *, seconds: float = _MOST_SECONDS) -> None:
        self._caller, self._seconds = caller, seconds
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def read(self, path: Path, suffix: str) -> str:
        r"""Read the text of a file.

        Args:
            path: An ordinary file.
            suffix: Its format, as ".pdf".

        Returns:
            The text, with headings as in Markdown; `\f` divides the pages of a PDF.

        Raises:
            ValueError: If it has none. The message is the reason alone.
            ModuleNotFoundError: If the library that reads it is not installed.
        """
        request = json.dumps({"path": str(path.absolute()), "suffix": suffix})
        line = self._ask(request)
        answer = {"refused": "reading it ended the process that did"} if line == "" else None
        answer = answer or json.loads(line)
        if "missing" in answer:
            raise ModuleNotFoundError(
                f"{self._caller}: {answer['missing']} must be installed to read {suffix}; got "
                "none. Run pip install 'askew[documents]'",
                name=answer["missing"],
            )
        if "refused" in answer:
            raise ValueError(answer["refused"])
        return answer["text"]

    def _ask(self, request: str) -> str:
        """Return a line of the process, "" if it ends before one."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-X", "utf8", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
            self._answers = queue.Queue()
            self._thread = threading.Thread(
                target=_forward, args=(self._process.stdout, self._answers), daemon=True
            )
            self._thread.start()
        stdin = self._process.stdin
        try:
            print(request, file=stdin, flush=True)
            line = self._answers.get(timeout=self._seconds)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            self._stop()
            raise ValueError(f"reading it takes more than {self._seconds:g} seconds") from None
        if not line:
            self._stop()
        return line

    def _stop(self) -> None:
        if self._process is None or self._thread is None:
            return
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # of a request that nobody reads any more
                if stream is not None:
                    stream.close()
        self._process = None


def _forward(stdout: IO[str], answers: "queue.Queue[str]") -> None:
    for line in stdout:
        answers.put(line)
    answers.put("")
