"""One URL means the same Redis to our clients and to Celery, or it is refused with a sentence."""

import pytest

from services.redis_url import broker, parse

SECRET = "Lq7-xB2z"  # pragma: allowlist secret


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://queue", "begins with none of redis://, rediss://, unix://"),
        (f"redis://:{SECRET}@queue/jobs", "names the database 'jobs', which is no number"),
        (f"rediss://:{SECRET}@queue?ssl_cert_reqs=none", "has the option ssl_cert_reqs; rediss:// takes ssl_ca_certs"),
        (f"redis://:{SECRET}@queue?ssl_ca_certs=/ca.pem", "has the option ssl_ca_certs; redis:// takes none"),
        (f"rediss://:{SECRET}@queue?ssl_ca_certs=/no/ca.pem", "has ssl_ca_certs=/no/ca.pem, which is no file"),
        (f"redis+sentinel://:{SECRET}@one,two/0", r"needs \?master=NAME"),
        (f"redis://:1/{SECRET}@queue", "has an @ behind its host: what is special in a password"),
        (f"redis://:1?{SECRET}=@queue", "has an @ behind its host"),
        (f"redis://:{SECRET}#@queue", "has an @ behind its host"),
    ],
)
def test_url_that_cannot_work_is_refused_without_its_secret(url, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}") as caught:
        parse(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"redis://:{SECRET}@h:1/2", f"redis://:{SECRET}@h:1/2"),
        ("redis://localhost", "redis://localhost:6379/0"),
        (f"redis://a%40b:{SECRET}%2F@[::1]", f"redis://a%40b:{SECRET}%2F@[::1]:6379/0"),  # pragma: allowlist secret
        ("unix:///tmp/v.sock?db=3", "redis+socket:///tmp/v.sock?virtual_host=3"),
        (f"unix://u:{SECRET}@/tmp/v.sock", f"redis+socket://u:{SECRET}@/tmp/v.sock?virtual_host=0"),
        (
            f"redis+sentinel://u:{SECRET}@one,two:7/2?master=rarebit",
            f"sentinel://u:{SECRET}@one:26379/2;sentinel://u:{SECRET}@two:7/2",
        ),
    ],
)
def test_celery_gets_the_same_database(url, address):
    assert broker(url)["broker_url"] == address


def test_celery_gets_the_same_certificates_and_the_same_primary(tmp_path):
    (tmp_path / "ca.pem").touch()
    url = f"rediss+sentinel://:{SECRET}@one/0?master=rarebit&sentinel_password=Pw&ssl_ca_certs={tmp_path}/ca.pem"
    celery, tls = broker(url, socket_timeout=3), {"ssl_ca_certs": f"{tmp_path}/ca.pem", "ssl_cert_reqs": "required"}
    assert celery["broker_use_ssl"].items() >= tls.items()
    options = celery["broker_transport_options"]
    assert options["master_name"] == "rarebit"
    wanted = {"password": "Pw", "ssl": True, "socket_timeout": 3, **tls}  # pragma: allowlist secret
    assert options["sentinel_kwargs"].items() >= wanted.items()
