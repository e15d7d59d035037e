#!/usr/bin/python3
"""Lists of deliveries, bounces and statistics by the API, as the service's own clients ask for them."""
import datetime
import json
import urllib.parse

from events import BOUNCE, DELIVERY, STATISTICS, Refuser
from inkan import Sandbox, contains, crlf, equal, now, run, send, test, wait_until


def today():
    return datetime.date.today().isoformat()


def ask(box, resource, fields, form=False, path="/transaction/v2/{}/list.json", method="POST", key=None, kind=None):
    """-> status, parsed body or None"""
    fields = {"api_user": box.env["API_USER"], "api_key": key or box.env["API_KEY"], **fields}
    body = urllib.parse.urlencode(fields) if form else json.dumps(fields)
    kind = kind or ("application/x-www-form-urlencoded" if form else "application/json; charset=UTF-8")
    connection = box.api()
    connection.request(method, path.format(resource), body, {"Content-Type": kind})
    reply = connection.getresponse()
    octets = reply.read()
    connection.close()
    return reply.status, json.loads(octets) if octets else None


def deliveries(box, form=False, **fields):
    status, got = ask(box, "deliveries", {"server_composition": "default", "date": today(), **fields}, form)
    if status == 204:
        equal(got, None, "204 has no body")
        return []
    equal(status, 200, got)
    equal(list(got), ["deliveries"])
    for row in got["deliveries"]:
        equal(list(row), DELIVERY)
        assert all(isinstance(value, str) for value in row.values()), row
    return got["deliveries"]


def mail(to, extra=""):
    return crlf(f"From: alice@example.com\nTo: {to}\nSubject: report\nDate: {now()}\nMessage-ID: <1@example.com>\n"
                f"{extra}\nhello\n".encode())


@test
def deliveries_are_listed_with_exactly_their_members():
    with Sandbox() as box:
        equal(deliveries(box), [])
        for name in "bob", "carol":
            equal(send(box.port, "alice@example.com", [f"{name}@example.net"],
                       mail(f"{name}@example.net", "X-Api-Data: CMC00123\n"))[0], 250)
        box.maildir(2)
        rows = wait_until(lambda: (lambda r: r if len(r) == 4 else None)(deliveries(box)), 20, "four events")
        queued = [row for row in rows if row["status"] == "queued"]
        done = [row for row in rows if row["status"] == "succeeded"]
        equal([row["to"] for row in queued], ["bob@example.net", "carol@example.net"])
        equal(len(done), 2)
        equal(queued[0]["sourceIp"], "127.0.0.1", "who sent it to us")
        equal(queued[0]["senderIp"], "")
        equal(done[0]["sourceIp"], "")
        for row in rows:
            equal(row["returnPath"], "alice@example.com")
            equal(row["from"], "alice@example.com")
            equal(row["messageId"], "<1@example.com>")
            equal(row["subject"], "report")
            equal(row["apiData"], "CMC00123")
            made = datetime.datetime.strptime(row["created"], "%Y-%m-%d %H:%M:%S")
            assert abs((datetime.datetime.now() - made).total_seconds()) < 120, row
        # filters and pages, by both forms
        for form in False, True:
            equal(len(deliveries(box, form, status="queued")), 2)
            equal(len(deliveries(box, form, to="CAROL@")), 2, "partial match")
            equal(len(deliveries(box, form, to="nobody")), 0)
            equal(len(deliveries(box, form, api_data="CMC00123", status="succeeded")), 2)
            equal(len(deliveries(box, form, api_data="CMC")), 0)
            equal([row["to"] for row in deliveries(box, form, r="1", p="1", status="queued")], ["carol@example.net"])
            equal(deliveries(box, form, p="9"), [])
            equal(len(deliveries(box, form, **{"from": "alice"})), 4)
            whole = json.dumps({"from": "full", "to": "full"}) if form else {"from": "full", "to": "full"}
            equal(len(deliveries(box, form, **{"from": "alice", "search_option": whole})), 0, "the whole address")
            equal(len(deliveries(box, form, **{"from": "Alice@example.com", "to": "carol@example.net", "search_option": whole})), 2)
        equal(deliveries(box, date="2020-01-01"), [])
        for path in "/api/v2/{}/list.json", "/api/v1/{}/list.json":
            equal(ask(box, "deliveries", {"server_composition": "default", "date": today()}, path=path)[0], 200)


@test
def bounces_and_statistics():
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        refusing = Refuser()
        box.configure("delete server default next-hop 127.0.0.1:9", f"set server default next-hop 127.0.0.1:{refusing.port} tls none")
        equal(send(box.port, "alice@example.com", ["bad@example.net"], mail("bad@example.net"))[0], 250)
        rows = wait_until(lambda: ask(box, "bounces", {"server_composition": "default"})[1], 30, "a bounce")["bounces"]
        equal(list(rows[0]), BOUNCE)
        equal(rows[0]["to"], "bad@example.net")
        equal(rows[0]["status"], "failed")
        contains(rows[0]["reason"], "550 5.1.1 no such user")
        assert all(isinstance(value, str) for value in rows[0].values()), rows[0]
        equal(ask(box, "bounces", {"server_composition": "default", "end_date": "2020-01-01"})[0], 204)
        month = {"year": str(datetime.date.today().year), "month": datetime.date.today().month}
        status, got = ask(box, "statistics", month)
        equal(status, 200, got)
        equal(list(got["statistics"][0]), STATISTICS)
        equal(got["statistics"][0]["date"], today())
        assert int(got["statistics"][0]["queued"]) >= 1 and got["statistics"][0]["failed"] != "0", got
        assert all(isinstance(value, str) for value in got["statistics"][0].values()), got
        equal(ask(box, "statistics", {**month, "total": "1"})[1]["statistics"][0]["date"], today()[:7])
        equal(ask(box, "statistics", {"year": 2001, "month": 1})[0], 204)
        equal(ask(box, "blocks", {"server_composition": "default", "email": "bad@"}), (204, None), "nothing is blocked")


@test
def faults_are_errors_that_the_clients_can_read():
    with Sandbox() as box:
        good = {"server_composition": "default", "date": today()}
        for what, want, field, call in [
                ("key", 401, "api_key", lambda: ask(box, "deliveries", good, key="wrong")),
                ("user", 401, "api_key", lambda: ask(box, "deliveries", {**good, "api_user": "nobody"})),
                ("no user", 400, "api_user", lambda: ask(box, "deliveries", {**good, "api_user": ""})),
                ("server", 400, "server_composition", lambda: ask(box, "deliveries", {**good, "server_composition": "x"})),
                ("no server", 400, "server_composition", lambda: ask(box, "bounces", {})),
                ("no date", 400, "date", lambda: ask(box, "deliveries", {"server_composition": "default"})),
                ("rows", 400, "r", lambda: ask(box, "deliveries", {**good, "r": 101})),
                ("month", 400, "month", lambda: ask(box, "statistics", {"year": 2026})),
                ("method", 405, "", lambda: ask(box, "deliveries", good, method="GET")),
                ("path", 404, "", lambda: ask(box, "nothing", good)),
                ("type", 415, "", lambda: ask(box, "deliveries", good, kind="text/plain")),
                ("json", 400, "", lambda: ask(box, "deliveries", good, form=True, kind="application/json")),
                ("blocks of no server", 400, "server_composition", lambda: ask(box, "blocks", {})),
                ("a wrong key for the audit", 401, "api_key", lambda: ask(box, "auditlogs", {"type": "login"}, key="wrong")),
                ("the audit", 403, "", lambda: ask(box, "auditlogs", {"type": "login"})),
                ("the audit's file", 403, "", lambda: ask(box, "auditlogs", {"type": "login"}, path="/transaction/v2/{}/download.json")),
                ("large", 413, "", lambda: ask(box, "deliveries", {**good, "to": "x" * 70000}))]:
            status, got = call()
            equal(status, want, what)
            assert got["errors"] and all(isinstance(v, str) and k in ("code", "field", "message")
                                         for error in got["errors"] for k, v in error.items()), got
            equal(got["errors"][0]["field"], field, what)


if __name__ == "__main__":
    run()
