-- A world's store as version 1 kept it, with one row of each kind that matters. Read by the tests for both engines: {id},
-- {int}, {real} and {bytes} stand for the engine's types, {blob:…} for bytes. Never changed: it is what there was.

CREATE TABLE schema_version (version {int} NOT NULL);
INSERT INTO schema_version (version) VALUES (1);
CREATE TABLE world (name TEXT NOT NULL, seed TEXT NOT NULL, side_m {real} NOT NULL, leaf_level {int} NOT NULL, sum {int} NOT NULL);
CREATE TABLE entity (id {id}, hop {int} NOT NULL, leaf {int} NOT NULL, gone_s {int} NOT NULL, data {bytes} NOT NULL, sum {int} NOT NULL);
CREATE INDEX entity_leaf ON entity (leaf);
CREATE TABLE pose (leaf {int} NOT NULL, second {int} NOT NULL, data {bytes} NOT NULL, sum {int} NOT NULL);
CREATE UNIQUE INDEX pose_key ON pose (leaf, second);
CREATE TABLE action (session {int} NOT NULL, number {int} NOT NULL, region {int} NOT NULL, tick {int} NOT NULL, heard_s {int} NOT NULL, answer {bytes} NOT NULL, sum {int} NOT NULL);
CREATE UNIQUE INDEX action_key ON action (session, number);
CREATE TABLE region (region {id}, epoch {int} NOT NULL, tick {int} NOT NULL, first_leaf {int} NOT NULL, last_leaf {int} NOT NULL, sum {int} NOT NULL);
INSERT INTO world VALUES ('harbour', '1180591620717411303424', 1024.0, 3, -1257306514085298104);
INSERT INTO entity VALUES (1, 1, 64, 0, {blob:81a17801}, 4047296914257988931);
INSERT INTO entity VALUES (2, 7, 80, 0, {blob:}, -7087472141491761333);
INSERT INTO entity VALUES (-1, 3, 127, 0, {blob:6c617374}, 7026631469178737833);
INSERT INTO entity VALUES (3, 4, 0, 1790000000, {blob:}, 3700859550527421365);
-- Damaged before the migration: it reads 'soumd'.
INSERT INTO entity VALUES (4, 1, 65, 0, {blob:736f756d64}, -5700460859493243073);
INSERT INTO pose VALUES (64, 1790000001, {blob:7031}, 6209893724318774841);
INSERT INTO pose VALUES (64, 1790000002, {blob:7032}, 3258545081397342916);
INSERT INTO action VALUES (7, 1, 4, 100, 1790000000, {blob:796573}, -1391293111850563519);
INSERT INTO action VALUES (7, 2, 5, 120, 1790000004, {blob:6e6f}, 572964209319234665);
INSERT INTO action VALUES (-1, 1, 4, 110, 1790000002, {blob:}, 5254091104553910614);
-- Damaged as well: the answer was 'paid'.
INSERT INTO action VALUES (8, 1, 4, 90, 1790000000, {blob:70616965}, 4451038073118629570);
INSERT INTO action VALUES (7, 3, 5, 121, 1790000005, {blob:70616965}, 1651937377613409790);
INSERT INTO region VALUES (4, 3, 110, 64, 79, 7206308795304058186);
INSERT INTO region VALUES (5, 2, 120, 80, 95, -3874653852630069352);
