"""Redis, the store and the gateway die or freeze under jobs; the sampler is a pause, all else is real."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.jobs.leases import Leases
from tests.faults.rig import LEASE_S, frozen
from tests.servers import eventually
from worker.health import what_is_wrong

BODY = {"concept": "chair", "seed": 7}
KEY = {"idempotency-key": "the-clients-own"}
UPLOADED = "outputs uploaded, record not written"
PHASES = ("load", "fit", "optimize", "check", "decode", "upload")


@pytest.fixture
def gateways(broken):
    """Two gateways over one Redis."""
    return [broken.start_gateway(), broken.start_gateway()]


def post(gateway, **headers):
    url = f"http://127.0.0.1:{gateway.address}/jobs"
    return httpx.post(url, json=BODY, headers=KEY | headers, timeout=60, trust_env=False)


@pytest.mark.fault(
    "submitted, not acknowledged", "`kill -9` of the gateway after it queued", "sent again: the same job"
)
def test_submission_whose_answer_was_lost_makes_one_job(broken, gateways):
    """The answer waits for the job's end, and the gateway dies meanwhile."""
    with ThreadPoolExecutor(1) as client, broken.client() as store:
        first = client.submit(post, gateways[0], prefer="wait=30")
        assert eventually(lambda: store.zcard("{rarebit}:queue") == 1)
        gateways[0].kill()
        assert isinstance(first.exception(), httpx.TransportError)
    gateways[0].start()
    for gateway in gateways:
        answer = post(gateway)
        assert (answer.status_code, answer.headers["idempotency-replayed"]) == (202, "true")
        broken.acknowledged = [answer.json()["id"]]
    broken.start_workers()
    broken.wait_for_end()


@pytest.mark.fault("submitted, not acknowledged", "50 clients send one key to two gateways at once", "one job")
def test_key_that_fifty_clients_send_to_two_gateways_at_once_makes_one_job(broken, gateways):
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda n: post(gateways[n % 2]), range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    [job_id] = {answer.json()["id"] for answer in answers}
    broken.acknowledged = [job_id]
    broken.start_workers()
    broken.wait_for_end()


@pytest.mark.fault("queued", "`kill -9` of Redis", "nothing is lost, consumption resumes")
def test_jobs_that_were_acknowledged_survive_the_death_of_redis(broken, record_property):
    broken.start_workers(2)
    broken.fleet.supervise()
    ids = [broken.submit(step_s=0.5) for _ in range(40)]  # of which two workers run sixteen at once

    def begun():
        return sum(broken.record(job_id)["attempt"] != "0" for job_id in ids)

    assert eventually(lambda: begun() > 4)
    broken.redis.kill()
    broken.redis.start()
    before, back = begun(), time.monotonic()
    assert eventually(lambda: begun() > before + 2, 60)  # others than those in hand
    record_property("resumed after", time.monotonic() - back)
    assert {record["status"] for record in broken.wait_for_end()} == {"succeeded"}


@pytest.mark.fault(
    "claimed", "the answer to the claim is lost in a frozen Redis", "the worker's next claim gets the job"
)
def test_claim_whose_answer_was_lost_is_answered_again(broken):
    first, second = broken.submit(), broken.submit()
    impatient = {"socket_timeout": 0.2, "decode_responses": True, "retry": Retry(NoBackoff(), 1)}
    with redis.Redis.from_url(broken.env["RAREBIT_REDIS_URL"], **impatient) as client:
        leases = Leases(client, worker="impatient", lease_s=LEASE_S)
        leases.recover()
        with frozen(broken.redis), pytest.raises(redis.TimeoutError):
            leases.claim()
        claims = [leases.claim(), leases.claim()]
    assert [(claim.id, claim.attempt) for claim in claims] == [(first, 1), (second, 1)]
    for claim in claims:
        leases.hand_back(claim)
    broken.start_workers()
    broken.wait_for_end()


@pytest.mark.fault("running: each phase", "`kill -9` of Redis, back at once", "the attempt goes on, one result")
def test_run_outlives_redis_in_each_of_its_phases(broken):
    broken.start_workers()
    job_id = broken.submit(step_s=1.2, count=16)
    for phase in PHASES:
        broken.wait_for_phase(job_id, phase)
        broken.redis.kill()
        broken.redis.start()
    [record] = broken.wait_for_end()
    assert (record["status"], record["attempt"]) == ("succeeded", "1")


@pytest.mark.fault(UPLOADED, "Redis is away for two leases", "the attempt writes its result when it is back")
def test_result_waits_for_redis(broken):
    broken.start_workers(2)
    job_id = broken.submit(step_s=0.4)
    broken.wait_for_phase(job_id, "decode")
    broken.redis.kill()
    time.sleep(2 * LEASE_S)
    broken.redis.start()
    [record] = broken.wait_for_end()
    assert (record["status"], record["attempt"]) == ("succeeded", "1")


@pytest.mark.fault(
    UPLOADED, "`kill -9` of its worker and of Redis", "made again elsewhere; the first uploads are swept"
)
def test_uploads_without_a_record_are_made_again_and_swept(broken):
    broken.start_workers(2)
    job_id = broken.submit(step_s=0.4, count=4)
    broken.wait_for_phase(job_id, "decode")
    worker = broken.fleet.running(job_id)
    broken.redis.kill()
    assert eventually(lambda: len(broken.objects()) == 8)
    worker.signal(signal.SIGKILL)
    broken.redis.start()
    [record] = broken.wait_for_end()
    assert (record["status"], record["attempt"]) == ("succeeded", "2")


@pytest.mark.fault("record written", "`kill -9` of Redis at once", "it is as it was")
def test_result_that_was_written_stays(broken):
    broken.start_workers()
    broken.submit()
    [before] = broken.wait_for_end()
    broken.redis.kill()
    broken.redis.start()
    [after] = broken.wait_for_end()
    assert before == after


@pytest.mark.slow
@pytest.mark.fault("running", "Redis freezes for 20 s (SIGSTOP)", "the attempt goes on, one result")
def test_run_outlives_a_frozen_redis(broken):
    broken.start_workers(2)
    job_id = broken.submit(step_s=0.5, steps=60)
    broken.wait_for_phase(job_id, "optimize")
    with frozen(broken.redis):
        time.sleep(20)
    [record] = broken.wait_for_end()
    assert (record["status"], record["attempt"]) == ("succeeded", "1")


@pytest.mark.slow
@pytest.mark.fault("running: upload", "the store hangs past the lease", "the attempt keeps its lease, one result")
def test_run_outlives_a_frozen_store(broken):
    broken.start_workers(2)
    job_id = broken.submit(step_s=0.4, count=16)
    broken.wait_for_phase(job_id, "upload")
    with frozen(broken.s3):
        time.sleep(2 * LEASE_S)
    [record] = broken.wait_for_end()
    assert (record["status"], record["attempt"]) == ("succeeded", "1")


@pytest.mark.fault("running", "`kill -9` of its worker while the store hangs", "it runs elsewhere; sweeping can wait")
def test_worker_killed_while_the_store_hangs_is_found_dead(broken):
    broken.start_workers(2)
    job_id = broken.submit(step_s=0.4, steps=12)
    broken.wait_for_phase(job_id, "optimize")
    with frozen(broken.s3), broken.client() as store:
        store.zadd("{rarebit}:expiry", {"jobs/expired/": 0})
        time.sleep(LEASE_S)
        broken.fleet.running(job_id).signal(signal.SIGKILL)
        assert eventually(lambda: broken.record(job_id)["attempt"] == "2", LEASE_S + LEASE_S / 3 + 5)
    broken.wait_for_end()


def test_worker_is_ready_while_redis_is_there_and_lives_without_it(broken):
    file = broken.folder / "health"
    broken.env["RAREBIT_HEALTH_FILE"] = str(file)

    def is_so(*words):
        return eventually(
            lambda: tuple(word for word in ("live", "ready") if not what_is_wrong(word, file)) == words, 30
        )

    broken.start_workers()
    assert is_so("live", "ready")
    broken.redis.kill()
    assert is_so("live")
    broken.redis.start()
    assert is_so("live", "ready")
