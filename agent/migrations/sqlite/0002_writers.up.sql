-- Who wrote from the event `first` on: a row for each time that the journal was opened for writing. Only the
-- holder of the highest epoch, which `meta` has too, can append.
CREATE TABLE writers (
    epoch   INTEGER PRIMARY KEY,
    first   INTEGER NOT NULL,
    version TEXT    NOT NULL
) STRICT;
INSERT INTO writers (epoch, first, version) SELECT 0, 1, value FROM meta WHERE key = 'version';
-- One that was here before counts on: see the way back.
INSERT INTO meta (key, value) VALUES ('epoch', '0') ON CONFLICT (key) DO NOTHING;
DELETE FROM meta WHERE key = 'version';
