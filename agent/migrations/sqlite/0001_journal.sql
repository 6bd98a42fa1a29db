-- Facts about the journal itself: whose it is, which version wrote it, the last projection.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Everything that happened to the bot, in order. `body` is the event as JSON.
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL, -- market time, milliseconds since 1970
    kind TEXT    NOT NULL,
    body TEXT    NOT NULL
) STRICT;

-- What the engine did about each event, in order. `body` is the output as JSON.
CREATE TABLE outputs (
    seq  INTEGER NOT NULL REFERENCES events (seq),
    n    INTEGER NOT NULL,
    kind TEXT    NOT NULL,
    body TEXT    NOT NULL,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

-- Most outputs are moves of the loop; what people ask for is rare among them.
CREATE INDEX outputs_of_interest ON outputs (kind, seq) WHERE kind IN ('decision', 'fill', 'tradeClosed');

-- The engine after the event `seq`.
CREATE TABLE snapshots (
    seq     INTEGER PRIMARY KEY,
    version TEXT NOT NULL,
    body    TEXT NOT NULL
) STRICT;
