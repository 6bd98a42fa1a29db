-- The agent before knows one version for the whole journal: the last one.
INSERT INTO meta (key, value)
SELECT 'version', version FROM writers WHERE first > 0 ORDER BY epoch DESC LIMIT 1
ON CONFLICT (key) DO UPDATE SET value = excluded.value;
-- The epoch stays and rises, so that whoever held the journal before cannot write to it again.
UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE key = 'epoch';
DROP TABLE writers;
