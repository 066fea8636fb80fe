"""The table of faults: what is injected, what is expected. Every row also checks the invariants of
`checker`: nothing lost, nothing twice, counters add up, an end within the bound, no secret in a log,
/health/live within a second."""

from collections.abc import Mapping

from tests.faults import (
    api_faults,
    book_faults,
    broker_faults,
    database_faults,
    ended_faults,
    expert_faults,
    system_faults,
    worker_faults,
)
from tests.faults.expert_faults import GAUNTLET
from tests.faults.report import Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        "F1",
        "kill -9 of a worker in the middle of a shard",
        "another one takes its leases over; finished responses are not generated again",
        worker_faults.kill_worker,
        short=True,
    ),
    Fault("F2", "kill -9 of a pool child only", "its parent goes on", worker_faults.kill_child),
    Fault(
        "F3",
        "kill -9 after a backend answered, before the commit",
        "at most one repeated call per query, one result",
        worker_faults.kill_before_commit,
    ),
    Fault(
        "F4",
        "kill -9 after the commit, before the bell is acknowledged",
        "its redelivery changes nothing",
        worker_faults.kill_after_commit,
    ),
    Fault(
        "F5",
        "SIGTERM in the middle of a shard",
        "leases are given back uncharged within the grace time",
        worker_faults.terminate_worker,
        short=True,
    ),
    Fault(
        "F6",
        "SIGSTOP of a worker for two leases, then SIGCONT",
        "its late writes are refused; it works again",
        worker_faults.zombie_worker,
        short=True,
    ),
    Fault(
        "F7",
        "kill -9 of Redis, started again empty",
        "work goes on; submissions are accepted meanwhile",
        broker_faults.emptied,
        short=True,
    ),
    Fault(
        "F8",
        "Redis down for 20 s",
        "202 meanwhile, /health/ready degraded, the outbox drains after",
        broker_faults.away,
    ),
    Fault(
        "F9",
        "Redis out of memory, then a read-only replica",
        "202 meanwhile; bells are rung later",
        broker_faults.full,
    ),
    Fault("F10", "Redis connections reset 20 times", "workers hear bells again", broker_faults.resets),
    Fault(
        "F11",
        "PostgreSQL restarted three times during submissions",
        "202 or 503, never both; one job per key",
        database_faults.restarted,
        short=True,
    ),
    Fault(
        "F12",
        "PostgreSQL down for 15 s",
        "503 with Retry-After; workers pause and burn no attempt",
        database_faults.away,
    ),
    Fault(
        "F13",
        "a locked table, no connections left, deadlocks",
        "503, no hang",
        database_faults.contended,
    ),
    Fault(
        "F14",
        "API killed between commit and response",
        "the retry with the key finds the one job",
        api_faults.killed_after_commit,
        short=True,
    ),
    Fault(
        "F15",
        "API killed during an upload",
        "no orphan job, no temporary file",
        api_faults.killed_during_upload,
    ),
    Fault("F16", "clients hang up before their answers", "nothing leaks", api_faults.client_leaves),
    Fault(
        "F17", "a backend that hangs or hangs up", "time limit, then the breaker", GAUNTLET["F17"], short=True
    ),
    Fault(
        "F18",
        "500, 502, 503 and 429 with Retry-After",
        "classified; the rest that is asked for is kept",
        GAUNTLET["F18"],
        short=True,
    ),
    Fault("F19", "401, 403, 404", "misconfigured, not asked again", GAUNTLET["F19"]),
    Fault("F20", "refused, no such host, no TLS", "unavailable; the breaker opens", GAUNTLET["F20"]),
    Fault("F21", "HTML, half a JSON, wrong schema, no choices, null", "no answer, no crash", GAUNTLET["F21"]),
    Fault("F22", "a stream cut off, or without its end", "never counted as an answer", GAUNTLET["F22"]),
    Fault("F23", "endless, huge and dripping replies", "byte and time limits", GAUNTLET["F23"]),
    Fault("F24", "cut-off text, unclosed reasoning", "abstention, not a guess", GAUNTLET["F24"]),
    Fault("F25", "garbage, refusal, another language", "abstention, not a vote", GAUNTLET["F25"]),
    Fault(
        "F26",
        "an expert that speaks for the others, with chat-template tokens",
        "the answer of the run without it",
        expert_faults.inject,
    ),
    Fault("F27", "aggregator down", "the vote decides, marked", expert_faults.aggregator_down),
    Fault("F28", "all experts down", "errors, and the batch ends", expert_faults.all_experts_down),
    Fault(
        "F29",
        "an engine that cannot be loaded",
        "its calls fail at once; no reload loop",
        worker_faults.failing_load,
    ),
    Fault(
        "F30",
        "an engine that dies in a shard",
        "loaded again; only unfinished prompts run again",
        worker_faults.dying_engine,
    ),
    Fault(
        "F32",
        "an answer file that cannot grow; the database's disk full",
        "no half file; 503 or 507, and it recovers",
        database_faults.disk_full,
    ),
    Fault(
        "F33",
        "workers an hour ahead and behind, one jumps",
        "no lease expires early",
        worker_faults.wrong_clocks,
    ),
    Fault(
        "F34",
        "bells ten times, out of order, late",
        "one result",
        broker_faults.repeated_bells,
    ),
    Fault(
        "F35",
        "a query that kills whatever worker takes it",
        "poison after three attempts, neighbours fine",
        worker_faults.poison_query,
    ),
    Fault(
        "F36",
        "garbage, unknown tasks, pickles, other versions in the queue",
        "taken off; workers live",
        broker_faults.poison_messages,
        short=True,
    ),
    Fault(
        "F37",
        "three beats, four steppers, one death",
        "nothing is stepped or returned twice",
        database_faults.several_sweepers,
    ),
    Fault(
        "F38", "cancel races with completion, and comes thrice", "one terminal state", api_faults.cancelled
    ),
    Fault("F39", "a deadline passes", "expired; finished results are kept", api_faults.overdue),
    Fault(
        "F40",
        "a database of the previous schema with work on it",
        "upgraded by whoever comes first; an older process refuses",
        system_faults.upgraded,
    ),
    Fault(
        "F41",
        "an expert with queued work leaves the pool",
        "its calls fail with the reason",
        system_faults.model_removed,
    ),
    Fault(
        "F42",
        "profiling killed half-way, vector files damaged",
        "old cards are kept; files are made again",
        system_faults.profile_damaged,
    ),
    Fault(
        "F43",
        "ten times the load that the API takes",
        "429 with Retry-After, bounded memory",
        api_faults.overload,
    ),
    Fault(
        "F44",
        "an API with 64 file descriptors; 500 idle clients",
        "refuses with a remedy; goes on",
        api_faults.few_descriptors,
    ),
    Fault(
        "F45",
        "every service restarted in random order, 20 times",
        "all is answered",
        system_faults.everything_restarted,
    ),
    Fault(
        "F46",
        "Redis that accepts connections and says nothing",
        "submissions do not wait for it",
        broker_faults.silent,
    ),
    Fault(
        "F71",
        "questions that fail once, some of a job's and all of it; then a retry",
        "what failed is answered, the rest stays to the letter",
        ended_faults.after_failures,
        short=True,
    ),
    Fault(
        "F72",
        "a deadline passes; then a retry",
        "all is answered under the new deadline",
        ended_faults.after_deadline,
    ),
    Fault(
        "F73",
        "cancelled in the middle and run again at once, three times",
        "it goes on where it was",
        ended_faults.after_cancelling,
    ),
    Fault(
        "F74",
        "four retries at once, the API killed under them, then a worker",
        "one retry, and all is answered",
        ended_faults.kills_during_retry,
    ),
    Fault(
        "F75",
        "the API killed under a deletion, while others work",
        "the beat finishes it; no table shows its texts",
        ended_faults.deletion_killed,
    ),
    Fault(
        "F76",
        "two hosts of one name, whose processes do not see each other",
        "nobody declares the other's worker dead",
        ended_faults.hosts_of_one_name,
    ),
    Fault(
        "F77",
        "the schema of a live system is migrated, and its own again",
        "nothing is claimed meanwhile; log and health say so; then all is answered",
        system_faults.migrated_under_way,
    ),
    Fault(
        "F78",
        "a model server away for longer than a job's deadline; back, and a retry",
        "all is answered",
        ended_faults.after_outage,
    ),
    Fault(
        "F81",
        "three jobs of 8,000 queries reach their deadlines together",
        "they expire bit by bit; a job beside them is answered",
        book_faults.overdue_large,
    ),
    Fault(
        "F82",
        "a job of 16,000 queries is cancelled amid its work",
        "it says so at once and nothing of it runs; the job behind it is answered",
        book_faults.cancelled_large,
    ),
    Fault(
        "F83",
        "the database's clock set an hour forward",
        "no lease of who lives ends, no attempt is burnt",
        book_faults.clock_forward,
        short=True,
    ),
    Fault(
        "F84",
        "the database's clock set an hour back, under a worker that stands still",
        "what it held is taken over in time",
        book_faults.clock_back,
    ),
)

NOT_SHOWN: Mapping[str, str] = {
    "F31": "a GPU that is lost, or an engine that does not wake up, needs a GPU",
}
