"""Shows under the first sentence of a function that draws what its example draws."""

import doctest
import importlib
import io
from base64 import b64encode
from contextlib import redirect_stdout
from typing import Any

import griffe


def picture(example: str, names: dict[str, object]) -> str:
    """Run an example and return the figure that it makes last, as an image within a page."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with redirect_stdout(io.StringIO()):
        for step in doctest.DocTestParser().get_examples(example):
            exec(compile(step.source, "example", "exec"), names)
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "askew"}):  # else ids differ from build to build
        pyplot.gcf().savefig(file, format="svg", metadata={"Date": None})
    pyplot.close("all")
    data = b64encode(file.getvalue()).decode()
    return f'<p><img alt="What the example draws" src="data:image/svg+xml;base64,{data}"></p>'


class Pictures(griffe.Extension):
    """Draws the examples of `askew.inspection.plot_…`."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Put each picture into the docstring of its function."""
        for name in map(str, pkg["inspection"].exports or ()):
            function = pkg["inspection"][name]
            if name.startswith("plot_") and function.docstring is not None:
                module = importlib.import_module(function.target.module.path)
                sentence, rest = function.docstring.value.split("\n\n", 1)
                shown = picture(function.docstring.value, dict(vars(module)))
                function.docstring.value = f"{sentence}\n\n{shown}\n\n{rest}"
