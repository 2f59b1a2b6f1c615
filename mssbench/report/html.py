"""Pages that work from disk alone: their scripts, and the policy that allows no other script."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from mssbench.report.packing import script_json


def render(template: str, scripts: dict[str, str], **values: Any) -> str:
    """Return a page from a template of the folder `page`. Texts are escaped.

    scripts: the scripts of the page by the name that the template has for them. The page's
    content-security policy allows these and no other.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts.values())
    environment = Environment(
        loader=PackageLoader("mssbench.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template(template).render(
        hashes=Markup(hashes),  # noqa: S704  (base64 of our own scripts)
        **scripts,
        **values,
    )


def figure_page(spec: dict[str, Any]) -> str:
    """Return a page with one figure. spec: a Vega-Lite specification with its data."""
    scripts = {"library": library(), "code": script("figure_page.js")}
    title = spec["title"]["text"]
    return render("figure.html", scripts, title=title, data=script_json(spec))


@cache
def library() -> str:
    """Return Vega and its embedding as one script, which vl-convert makes without network."""
    import vl_convert

    # The bundle declares hundreds of short names, `$` among them: a function hides them.
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return _inside_script(f"(() => {{{bundle}\n}})();")


def script(*names: str) -> str:
    """Return some scripts of the folder `page` as one, inside a function."""
    code = "\n".join(asset(name) for name in names)
    return _inside_script(f'"use strict";\n(() => {{\n{code}\n}})();\n')


def asset(name: str) -> str:
    """Return the text of a file in the folder `page`."""
    return files("mssbench.report").joinpath("page", name).read_text(encoding="utf-8")


def _inside_script(code: str) -> str:
    r"""Return a script that cannot end the element in which it stands: `</script` is escaped.

    It occurs in strings and regular expressions alone, in which `<\/` means the same. So does
    `<\!--`, without which a browser may look for a second end of the script.
    """
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _digest(code: str) -> str:
    """Return the SHA-256 of a script in base64, by which a policy allows it."""
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
