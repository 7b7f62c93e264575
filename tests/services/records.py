"""Read back what was written to Kafka.

In: a broker's address and a topic. Out: its records, from the beginning. Rule: no consumer group,
no commit; every partition is read up to the end that it had when reading began.
"""

from collections.abc import Iterator

from confluent_kafka import Consumer, Message, TopicPartition

WAIT_S = 10.0


def read_all(bootstrap: str, topic: str) -> Iterator[Message]:
    """Yield all records of a topic, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tests",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,  # other requests wait behind a fetch that finds nothing
        }
    )
    try:
        for number in consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), WAIT_S)
            consumer.assign([TopicPartition(topic, number, low)])
            at = low
            while at < high:
                message = consumer.poll(WAIT_S)
                assert message is not None, f"{topic}/{number}: nothing at {at} of {high}"
                assert message.error() is None, message.error()
                offset = message.offset()
                assert offset is not None
                at = offset + 1
                yield message
    finally:
        consumer.close()
