"""The Celery app and the hint that there is work for a model.

The job store is the truth. A message carries no job: whoever receives one claims the next job from the store, or finds
none and forgets it. So a message may be lost, repeated or late without harm.
"""

import json

from celery import Celery
from kombu.entity import Queue

from services.bounds import DEFAULT_MODEL
from services.redis_url import broker
from services.settings import Settings

RUN_TASK = "rarebit.run"
QUEUE = "run"
_PREFIX = "{rarebit}."  # of every key of Celery's: one slot of a cluster, and one pattern of an access list
HINTS = f"{_PREFIX}{QUEUE}"  # the Redis list that Celery consumes, of the default model
_HINT_ID = "HINT-ID"
_HINT_POOL = "HINT-POOL"
_RESTORE_MARGIN_S = 600


def queue_of(model: str) -> str:
    """Celery's queue for hints of the model's jobs."""
    return QUEUE if model == DEFAULT_MODEL else f"{QUEUE}.{model}"


def celery_app(settings: Settings) -> Celery:
    """The app that a worker adds its one task, `RUN_TASK`, to."""
    app, queue = Celery("rarebit", set_as_current=False), queue_of(settings.served_model)
    app.conf.update(
        task_queues=[Queue(queue)],  # type: ignore[no-untyped-call]
        task_default_queue=queue,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        **broker(
            settings.redis_url,
            global_keyprefix=_PREFIX,
            visibility_timeout=settings.run_limit_s + _RESTORE_MARGIN_S,
            unacked_restore_interval=2,
            unacked_restore_throttle=1,
            socket_timeout=30,
            socket_connect_timeout=5,
            socket_keepalive=True,
        ),
    )
    return app


def hint_pieces() -> list[str]:
    """A message for `RUN_TASK` as Celery puts it on the list; its id stands between the pieces.

    HINT-POOL stands for what the queue's name has behind `QUEUE`.
    """
    app = Celery(broker="memory://", set_as_current=False)
    task = app.amqp.as_task_v2(_HINT_ID, RUN_TASK, origin="rarebit")
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        message = channel.prepare_message(
            json.dumps(task.body),
            content_type="application/json",
            content_encoding="utf-8",
            headers=task.headers,
            properties=task.properties | {"delivery_tag": _HINT_ID},
        )
    message["properties"]["delivery_info"] = {"exchange": "", "routing_key": f"{QUEUE}{_HINT_POOL}"}
    return json.dumps(message).split(_HINT_ID)
