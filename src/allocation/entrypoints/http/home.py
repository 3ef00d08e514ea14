"""The page at the root: what the service is, and where to go next. It loads nothing from elsewhere."""

from collections.abc import Sequence

from allocation import __version__
from allocation.entrypoints.http.messages import Request, Response
from allocation.entrypoints.http.route import Route
from allocation.entrypoints.http.words import Words, wanted_language

_LINKS = (
    ("/docs", Words("l'interface, à essayer", "the interface, to try out")),
    ("/openapi.json", Words("sa description en OpenAPI", "its description in OpenAPI")),
    ("/stock", Words("le stock, page par page", "the stock, page by page")),
    ("/health/ready", Words("l'état du service", "the state of the service")),
    ("/metrics", Words("ses mesures", "its metrics")),
)
_WHAT = Words(
    "Chaque ligne de commande reçoit son lot, et aucun lot n'en sert plus qu'il n'en tient.",
    "Every order line gets its batch of stock, and no batch serves more than it holds.",
)
_PAGE = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Allocation</title>
<style>body {{ font: 1.1em sans-serif; max-width: 40em; margin: 3em auto; padding: 0 1em }}</style>
</head>
<body>
<h1>Allocation {version}</h1>
<p>{what}</p>
<ul>
{links}
</ul>
</body>
</html>
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Language",
}


class HttpHome:
    """The route of the root page."""

    def routes(self) -> Sequence[Route]:
        """The method below, and what is promised about it."""
        return (Route("GET", "/", self.page, answers={200: "text/html"}),)

    async def page(self, request: Request) -> Response:
        """What this service is, with links to its other pages."""
        language = wanted_language(request.header("accept-language"))
        links = (f'<li><a href="{path}">{path}</a>: {words.said(language)}</li>' for path, words in _LINKS)
        page = _PAGE.format(
            language=language, version=__version__, what=_WHAT.said(language), links="\n".join(links)
        )
        return Response(page.encode(), media_type="text/html; charset=utf-8", headers=dict(_HEADERS))
