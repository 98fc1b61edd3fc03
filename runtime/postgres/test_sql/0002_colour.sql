-- compatible-with: 0001
ALTER TABLE things ADD COLUMN colour text;
DO $body$
BEGIN
  UPDATE things SET colour = 'it''s green;';
END
$body$;
