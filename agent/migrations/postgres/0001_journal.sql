-- Facts about the journal itself: whose it is, which version wrote it, the last projection.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Everything that happened to the bot, in order. `body` is the event as JSON, as text: every byte comes back.
CREATE TABLE events (
    seq  BIGINT PRIMARY KEY,
    at   BIGINT NOT NULL, -- market time, milliseconds since 1970
    kind TEXT   NOT NULL,
    body TEXT   NOT NULL
);

-- What the engine did about each event, in order. `body` is the output as JSON.
CREATE TABLE outputs (
    seq  BIGINT NOT NULL REFERENCES events (seq),
    n    BIGINT NOT NULL,
    kind TEXT   NOT NULL,
    body TEXT   NOT NULL,
    PRIMARY KEY (seq, n)
);

-- Most outputs are moves of the loop; what people ask for is rare among them.
CREATE INDEX outputs_of_interest ON outputs (kind, seq) WHERE kind IN ('decision', 'fill', 'tradeClosed');

-- The engine after the event `seq`.
CREATE TABLE snapshots (
    seq     BIGINT PRIMARY KEY,
    version TEXT NOT NULL,
    body    TEXT NOT NULL
);
