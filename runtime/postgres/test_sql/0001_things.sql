-- Characters that a careless embedding would break: ; ]] [ " \ ${PATH} @list@ %d ü €
CREATE TABLE things (id bigint PRIMARY KEY, label text NOT NULL DEFAULT 'a;"b\c ${PATH} @list@ [x]] ü €');
INSERT INTO things (id) VALUES (1);
