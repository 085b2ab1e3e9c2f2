"""What hostile requests are put together from."""

OPERATIONS = """\
POST /jobs
GET /jobs
GET /jobs/{job_id}
POST /jobs/{job_id}/cancel
DELETE /jobs/{job_id}
GET /jobs/{job_id}/deliveries
POST /jobs/{job_id}/deliveries/{delivery_id}/redeliver
GET /quarantine
POST /quarantine/{job_id}/replay
POST /images
GET /images/{upload_id}
DELETE /images/{upload_id}
GET /exposures/{key}
POST /exposures/{key}/views
DELETE /exposures/{key}
GET /files/{key}
GET /health/live
GET /health/ready
GET /metrics""".splitlines()

WITH_BODY = ["POST /jobs", "POST /exposures/{key}/views", "POST /images"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "BREW", "PRI"]

TARGETS = [
    "/docs",
    "/problems/x",
    "/guide/..%2fREADME",
    "/static/../app.py",
    "/openapi.json",
    "/",
    "/jobs/",
    "//jobs",
    "/JOBS",
    "/health",
    "*",
    "http://evil/jobs",
]

JOB = {
    "concept": "handbag",
    "prompt": "a {} of glass",
    "count": 2,
    "rarity": {"percentile": 99.9},
    "mode": "calibrated",
    "space": ["lora", "token"],
    "steps": 5,
    "trials": 4,
    "seed": 7,
    "image": {"upload": "0" * 32, "strength": 0.2},
    "avoid": [{"text": "red", "weight": 0.5}],
    "toward": [{"output": "0" * 32 + "/0"}],
    "variety": 0.5,
    "exposure": "user-7",
    "size": 64,
    "decoder_steps": 2,
    "guidance_scale": 4.5,
    "format": "webp",
    "priority": "normal",
    "start_within": None,
    "run_within": 60,
    "expires_in": 600,
    "webhook": {"url": "https://127.0.0.1/hook?é", "events": ["job.started", "job.failed"]},
    "metadata": {"a": "b"},
}

FIELDS = [*JOB, "views", "unknown", r"\ud800", "__proto__", "a/b~c", r"\u0000", "k" * 3000]

VALUES = [
    *r"""
null
true
false
0
-0
-1
1.0
2.5
1e400
5e-324
1e308
9007199254740993
NaN
-Infinity
""
" "
"1"
"true"
"{}"
"{}{}"
"\ud800"
"\udfff\ud800"
"\u0000"
"\u202e"
"/../.."
[]
{}
[[]]
{"": {}}
{"\udfff": "a"}
{"a": "\ud800"}
{"text": "red"}
{"output": "../../0"}
{"upload": "%00"}
{"percentile": 99, "bits": 3}
{"bits": true}
["lora", "lora"]
{"url": "https://user@host/"}
{"url": "https://10.0.0.1/#a"}
{"url": "http://[::1%25eth0]:99999/"}
{"url": "https://\\u0000/"}""".splitlines()[1:],
    "9" * 5000,
    "-" + "9" * 400,
    f'"{"a" * 201}"',
    f'"{"é" * 5000}"',
    '"' + r"\ud83d\ude00" * 300 + '"',
]

IDS = [
    *"""
.
..
%
%00
%ff
%zz
%2e%2e%2f
{rarebit}
*
%0d%0aSet-Cookie:x
%F0%9F%98%80
\xff
../../etc/passwd
..%2f..%2fsigning_key
%252e%252e
a%2fb
jobs/
jobs/%2e%2e/%2e%2e/signing_key
..%5c..%5cwin.ini
/etc/passwd
%2fproc/self/environ
.check/0
user-7""".splitlines(),
    "0" * 31,
    "0" * 33,
    "g" * 32,
    "a" * 9000,
]

QUERIES = [
    *"""
wait=0
wait=-1
wait=1e3
wait=NaN
wait=61
wait=0&wait=0
limit=0
limit=100
limit=١
cursor=1
cursor=-1
status=queued
status=x
&&=&%=%
\xfe=1
expires=-1&signature=
signature=%00""".splitlines(),
    "cursor=" + "9" * 16,
    "expires=9999999999&signature=" + "0" * 64,
    "expires=" + "9" * 5000 + "&signature=0",
    "a" * 5000,
]

MEDIA_TYPES = """\
application/json
application/json; charset=utf-16
text/json
application/x-www-form-urlencoded
application/xml
image/png
image/webp
multipart/form-data; boundary=x
application/json/
\xff
""".splitlines()

HEADERS = [
    *b"""\
Idempotency-Key: \xff\xfe
Idempotency-Key:
Idempotency-Key: same
Prefer: wait=0
Prefer: wait=99999999999999999999
Prefer: respond-async, wait="1"
Accept: nothing/at-all
Content-Encoding: gzip
Expect: 100-continue
Last-Event-ID: -1
Range: bytes=-1,0-,5-2
traceparent: 00-0-0-zz
X-Forwarded-For: ' OR 1=1
bad header without colon
X-Null: \0
Transfer-Encoding: gzip, chunked
Content-Length: -1
Content-Length: 99999999999999999999999""".splitlines(),
    b"Connection: upgrade\r\nUpgrade: websocket",
    b"Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c",
    b"Host: evil\r\nHost: other",
    b"If-Range: x\r\nRange: bytes=0-0",
    b"X-Fold: a\r\n b",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"Idempotency-Key: " + b"k" * 256,
    b"Prefer: " + b"wait," * 2000,
    b"Authorization: Bearer " + b"x" * 5000,
    b"Cookie: " + b"a=b;" * 500,
    b"X-Long: " + b"x" * 60_000,
    b"X-Longer: " + b"x" * 400_000,
    b"X-A: b\r\n" * 3000 + b"X-A: b",
]

FRAMING = [b"Content-Length", b"Transfer-Encoding", b"Upgrade", b"Expect"]  # headers that change where a request ends
