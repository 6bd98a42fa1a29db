-- The agent before knows one version for the whole journal: the last one.
INSERT INTO meta (key, value)
SELECT 'version', version FROM writers WHERE first > 0 ORDER BY epoch DESC LIMIT 1
ON CONFLICT (key) DO UPDATE SET value = excluded.value;
DELETE FROM meta WHERE key = 'epoch';
DROP TABLE writers;
