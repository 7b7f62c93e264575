"""Follow records until Kafka or the spool has them. In: records, and what Kafka reports. Out: the
word to their senders, and a backlog that is sent beside what is fresh.

The rule this file owns: no sender hears that its record is safe before Kafka or the disk has it;
then it reaches Kafka at least once. A place is away when its oldest report is late, or the last one
was a failure. Then all that is on its way there is written to the spool, in order, and so is what
comes after; it stays in librdkafka's queue as well, as long as that has room. So an outage that is
shorter than the patience of the queue (delivery.timeout.ms) changes no order and makes nothing
late; what Kafka takes from the queue is struck off the spool. What the queue gave up waits in the
spool: one record at a time is tried until Kafka takes one, then the backlog flows at its pace.
Changes are kept in order: while their place is away they go to the spool alone, and none overtakes
one that waits there.
"""

import logging
import threading
from functools import partial
from itertools import count

from producers.core.backlog import (
    IN_ORDER,
    Place,
    at_time,
    is_late,
    lane_name,
    with_follower,
    with_fresh,
    with_sent,
)
from producers.core.frames import Outgoing
from producers.flights import Failed, Flight, Flights, OnDelivery, Produce
from producers.spool import Spool
from schemas.metrics import Metric
from schemas.telemetry import Telemetry

logger = logging.getLogger(__name__)


class Deliveries:
    """All records on their way to Kafka; any thread may call. Times are monotonic."""

    def __init__(
        self, produce: Produce, spool: Spool, *, late_ms: int, telemetry: Telemetry
    ) -> None:
        self._produce, self._spool, self._telemetry = produce, spool, telemetry
        self._late_ms = late_ms
        self._places = {place: Flights() for place in spool.places}
        self._numbers = count()
        self._told: list[tuple[OnDelivery, Exception | None]] = []  # to call without the lock
        self._lock = threading.Lock()

    def send(
        self, place: Place, outgoing: Outgoing, on_delivery: OnDelivery | None, now_ms: int
    ) -> bool:
        """Take a record; return False where neither the queue nor the spool has room.

        Raises:
            Failed: Kafka will never take it.
        """
        with self._lock:
            flights = self._places.setdefault(place, Flights())
            flight = Flight(outgoing, len(outgoing.value), now_ms, on_delivery)
            taken = self._send(place, flights, flight)
        self._tell()
        return taken

    def tend(self, now_ms: int) -> None:
        """Note what is late, and send of the backlog what may be sent now; call it often."""
        with self._lock:
            for place, flights in self._places.items():
                self._look(place, flights, now_ms)
                self._drain(place, flights, now_ms)
        self._tell()

    def close(self) -> int:
        """Keep all that is still on its way; return how many records could not be kept."""
        with self._lock:
            for place, flights in self._places.items():
                self._divert(place, flights)
            left = sum(
                not flight.kept
                for flights in self._places.values()
                for flight in flights.flying.values()
            )
        self._tell()
        return left

    def _send(self, place: Place, flights: Flights, flight: Flight) -> bool:
        away, ordered = self._look(place, flights, flight.since_ms), place.topic in IN_ORDER
        follows = (away and ordered) or ((away or ordered) and self._spool.waits(place))
        launched = not follows and self._launch(place, flights, flight)
        if not (away or follows or flights.failure):
            if launched:
                flights.pace = with_fresh(flights.pace, flight.nbytes, flight.since_ms)
            return launched
        if self._keep(place, flight, flies=launched):
            if not away and follows:
                flights.pace = with_follower(flights.pace, flight.nbytes)
            return True
        return launched or (follows and self._launch(place, flights, flight))

    def _launch(self, place: Place, flights: Flights, flight: Flight) -> bool:
        """Give a record to librdkafka; return False where it does not take it now."""
        outgoing, number = flight.outgoing, next(self._numbers)
        assert outgoing
        flights.flying[number] = flight
        try:
            self._produce(outgoing, partial(self._report, place, number))
        except BufferError:
            del flights.flying[number]
            return False
        except Failed as failed:
            del flights.flying[number]
            if failed.forever:
                raise
            flights.failure = str(failed)
            return False
        if flight.kept:
            flight.outgoing = None
        return True

    def _report(self, place: Place, number: int, failed: Failed | None) -> None:
        """Take note of what became of a record; on librdkafka's thread."""
        with self._lock:
            flights = self._places[place]
            flight = flights.flying.pop(number)
            flights.backlog_bytes -= flight.nbytes if flight.backlog else 0
            flights.failure = str(failed) if failed and not failed.forever else ""
            if failed is None:
                self._telemetry.count(Metric.RECORDS_SENT, topic=place.topic)
                self._telemetry.count(Metric.BYTES_SENT, flight.nbytes, topic=place.topic)
                self._end(flight, None)
            else:
                self._telemetry.count(Metric.ERRORS, kind="delivery")
                self._fail(place, flight, failed)
        self._tell()

    def _fail(self, place: Place, flight: Flight, failed: Failed) -> None:
        """Keep a record that Kafka did not take, unless it never will."""
        if failed.forever:
            lost = "refused"
        elif flight.kept:
            lost = "" if self._spool.release(flight.kept) else "spool_full"
        else:
            lost = "" if self._keep(place, flight, flies=False) else "not_acknowledged"
        if lost:
            self._telemetry.count(Metric.RECORDS_DROPPED, reason=lost)
            self._end(flight, failed.error)

    def _end(self, flight: Flight, error: Exception | None) -> None:
        if flight.kept:
            self._spool.finish(flight.kept)
        elif flight.on_delivery:
            self._told.append((flight.on_delivery, error))

    def _look(self, place: Place, flights: Flights, now_ms: int) -> bool:
        """Tell whether a place is away; when that begins, keep all that is on its way there."""
        away = bool(flights.failure) or is_late(flights.since_ms, now_ms, self._late_ms)
        if away == flights.away:
            return away
        flights.away = away
        name, failure = lane_name(place), flights.failure
        others = any(one.away for one in self._places.values() if one is not flights)
        if away:
            self._divert(place, flights)
            if not others:
                logger.error(
                    "kafka acknowledges nothing place=%s error=%s", name, failure or "late"
                )
        elif not others:
            logger.info("kafka acknowledges again place=%s", name)
        return away

    def _divert(self, place: Place, flights: Flights) -> None:
        for flight in flights.flying.values():
            if not flight.kept:
                self._keep(place, flight, flies=True)

    def _keep(self, place: Place, flight: Flight, *, flies: bool) -> bool:
        """Write a record to the spool; its sender hears that it is safe."""
        assert flight.outgoing
        flight.kept = self._spool.keep(place, flight.outgoing, flies=flies)
        if flight.kept is None:
            return False
        flight.outgoing = None
        if flight.on_delivery:
            self._told.append((flight.on_delivery, None))
        flight.on_delivery = None
        return True

    def _drain(self, place: Place, flights: Flights, now_ms: int) -> None:
        """Send what waits, as far as it may be sent now."""
        flights.pace = at_time(flights.pace, now_ms)
        while flights.ready and self._spool.waits(place):
            found = self._spool.take(place)
            if found is None:
                return
            kept, outgoing = found
            flight = Flight(outgoing, len(outgoing.value), now_ms, kept=kept, backlog=True)
            try:
                launched = self._launch(place, flights, flight)
            except Failed as failed:
                self._fail(place, flight, failed)
                continue
            if not launched:
                self._spool.release(kept)
                return
            flights.backlog_bytes += flight.nbytes
            flights.pace = with_sent(flights.pace, flight.nbytes)

    def _tell(self) -> None:
        """Tell senders what became of their records; they may send again, so without the lock."""
        while self._told:
            with self._lock:
                told, self._told = self._told, []
            for on_delivery, error in told:
                try:
                    on_delivery(error)
                except Exception:  # a mistake of one sender; others must hear of theirs
                    self._telemetry.count(Metric.ERRORS, kind="on_delivery")
                    logger.exception("a delivery callback failed")
