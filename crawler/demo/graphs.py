"""Pages that are there for their links: graphs with an end, and traps without one."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

from crawler.demo.chance import seeded
from crawler.demo.exchange import Answer, BadRequestError, Request, page, redirect

_BRANCHES = 3


def graph_page(request: Request) -> Answer:
    """Page `page` of a graph of `count`, all reachable from page 0. It has about `links` links.

    Among them are the page itself, cycles, duplicates and fragments; `?redirects=` and `?dead=` are
    the shares that go through a redirect, or to a page that doesn't exist.
    """
    count = request.count("count", most=10**9)
    number = request.count("page", 0)
    if number >= count:
        return page("404", "<h1>No such page</h1>", status=404)
    root = f"/graph/{request.arguments['seed']}/{count}"
    options = _options(request, "links", "redirects", "dead")
    chance = seeded(root, number)
    redirects, dead = request.number("redirects", most=1), request.number("dead", most=1)
    # The tree makes sure that every page is found; the rest makes it a graph.
    children = range(number * _BRANCHES + 1, min(number * _BRANCHES + 1 + _BRANCHES, count))
    others = (chance.randrange(count) for _ in range(request.count("links", 10, most=10_000)))
    found = [f"{root}/page/{child}{options}" for child in children]
    for other in others:
        kind, target = "page", other
        if chance.random() < redirects:
            kind = "moved"
        elif chance.random() < dead:
            target = count + other
        found.append(f"{root}/{kind}/{target}{options}")
    found += [f"{root}/page/{number}{options}", f"{root}/page/{number}{options}#top", *found[-1:]]
    title = f"Page {number} of {count}"
    return page(title, f'<h1 id="top">{title}</h1>\n{_listed(found)}')


def graph_redirect(request: Request) -> Answer:
    """Where a page of the graph was before it moved."""
    where = request.arguments
    options = _options(request, "links", "redirects", "dead")
    return redirect(f"/graph/{where['seed']}/{where['count']}/page/{where['page']}{options}", 301)


def chain_list(request: Request) -> Answer:
    """List `list` of `lists`: links to `details` pages and to the next list.

    With `?latency=` seconds every page of the chain is late, by a log-normal factor of `?sigma=`.
    """
    lists, details = request.count("lists"), request.count("details", most=10_000)
    number = request.count("list", 1)
    if not 1 <= number <= lists:
        return page("404", "<h1>No such list</h1>", status=404)
    root, options = f"/chain/{lists}/{details}", _options(request, "latency", "sigma")
    found = [f"{root}/detail/{number}/{place}{options}" for place in range(1, details + 1)]
    content = f"<h1>List {number}</h1>\n{_listed(found)}"
    if number < lists:
        content += f'\n<a rel="next" href="{escape(f"{root}/list/{number + 1}{options}")}">Next</a>'
    return page(f"List {number}", content, after=_lateness(request))


def chain_detail(request: Request) -> Answer:
    """A detail page of a chain."""
    number, place = request.count("list"), request.count("place")
    if not (1 <= number <= request.count("lists") and 1 <= place <= request.count("details")):
        return page("404", "<h1>No such detail</h1>", status=404)
    title = f"Detail {place} of list {number}"
    return page(title, f"<h1>{title}</h1>", after=_lateness(request))


def calendar(request: Request) -> Answer:
    """A trap: a calendar without a first or last month."""
    year, month = request.count("year"), request.count("month", most=12)
    if month < 1:
        raise BadRequestError("months are 1 to 12")
    months = year * 12 + month - 1
    found = [
        f"/calendar/{there // 12:04}/{there % 12 + 1:02}/"
        for there in (max(0, months - 1), months + 1, months + 12)
    ]
    return page(f"{year}-{month:02}", f"<h1>{year}-{month:02}</h1>\n{_listed(found)}")


def mirror(_request: Request) -> Answer:
    """A trap: the same page under every path, with relative links that go deeper."""
    return page("Mirror", f"<h1>Mirror</h1>\n{_listed(['a/', 'b/', 'a/b/'])}")


def session_links(request: Request) -> Answer:
    """A trap: five topics whose links carry another session id every time."""
    request.site.attempts["/session-links"] += 1
    visit = request.site.attempts["/session-links"]
    session = seeded("session", visit).randbytes(8).hex()
    topic = request.count("topic", 1, most=5)
    found = [f"/session-links/{number}?sid={session}" for number in range(1, 6)]
    return page(f"Topic {topic}", f"<h1>Topic {topic}</h1>\n{_listed(found)}")


def endless_pages(request: Request) -> Answer:
    """A trap: there is always a next page."""
    number = request.count("page", 1)
    content = (
        f'<h1>Page {number}</h1>\n<a rel="next" href="/endless-pages?page={number + 1}">Next</a>'
    )
    return page(f"Page {number}", content)


def _options(request: Request, *names: str) -> str:
    """The query that hands these arguments on to the pages linked."""
    given = {name: request.arguments[name] for name in names if name in request.arguments}
    return f"?{urlencode(given)}" if given else ""


def _lateness(request: Request) -> float:
    latency, sigma = request.number("latency", most=60), request.number("sigma", most=5)
    return latency * seeded("late", request.target).lognormvariate(0.0, sigma)


def _listed(links: list[str]) -> str:
    items = (f'<li><a href="{escape(link)}">{escape(link)}</a></li>' for link in links)
    return "<ul>\n" + "\n".join(items) + "\n</ul>"
