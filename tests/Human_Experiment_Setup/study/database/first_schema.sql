-- A study as the first schema kept it (SQLite): finished, at trial 1, withdrawn. Never edited: databases of studies look so.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE answers (
	id INTEGER NOT NULL, 
	session_id VARCHAR(32) NOT NULL, 
	trial INTEGER NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	picture_id INTEGER, 
	shown BOOLEAN NOT NULL, 
	answer JSON NOT NULL, 
	signals JSON NOT NULL, 
	tab VARCHAR(32) NOT NULL, 
	rt_ms INTEGER NOT NULL, 
	received_ms BIGINT NOT NULL, 
	CONSTRAINT pk_answers PRIMARY KEY (id), 
	CONSTRAINT fk_answers_picture_id_pictures FOREIGN KEY(picture_id) REFERENCES pictures (id), 
	CONSTRAINT fk_answers_session_id_sessions FOREIGN KEY(session_id) REFERENCES sessions (id), 
	CONSTRAINT uq_answers_session_id UNIQUE (session_id, trial)
);
INSERT INTO "answers" VALUES(1,'4286024ca079ee0639695e8399ec73c2',0,'main','naming',4,1,'{"words": ["a", "b"], "cannot_tell": false}','{"pasted": 0, "left": 0, "left_ms": 0, "inputs": 0, "characters": 0, "keys": 0, "key_gaps_ms": [], "synthetic": 0, "pointer": "", "width": 0}','t',1,2000);
INSERT INTO "answers" VALUES(2,'4286024ca079ee0639695e8399ec73c2',1,'main','naming',5,1,'{"words": ["a", "b"], "cannot_tell": false}','{"pasted": 0, "left": 0, "left_ms": 0, "inputs": 0, "characters": 0, "keys": 0, "key_gaps_ms": [], "synthetic": 0, "pointer": "", "width": 0}','t',1,2000);
INSERT INTO "answers" VALUES(3,'4286024ca079ee0639695e8399ec73c2',2,'main','naming',8,1,'{"words": ["a", "b"], "cannot_tell": false}','{"pasted": 0, "left": 0, "left_ms": 0, "inputs": 0, "characters": 0, "keys": 0, "key_gaps_ms": [], "synthetic": 0, "pointer": "", "width": 0}','t',1,2000);
INSERT INTO "answers" VALUES(4,'8d3d342b75ba11d9adf044aea1f3d7af',0,'main','naming',6,1,'{"words": ["Fr\u00fch", "\u72ac"], "cannot_tell": false}','{"pasted": 0, "left": 0, "left_ms": 0, "inputs": 0, "characters": 0, "keys": 0, "key_gaps_ms": [], "synthetic": 0, "pointer": "", "width": 0}','t',1,4000);
CREATE TABLE events (
	id INTEGER NOT NULL, 
	session_id VARCHAR(32) NOT NULL, 
	what VARCHAR(32) NOT NULL, 
	detail JSON NOT NULL, 
	at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (id), 
	CONSTRAINT fk_events_session_id_sessions FOREIGN KEY(session_id) REFERENCES sessions (id)
);
INSERT INTO "events" VALUES(1,'4286024ca079ee0639695e8399ec73c2','consented','{}',1000);
INSERT INTO "events" VALUES(2,'8d3d342b75ba11d9adf044aea1f3d7af','consented','{}',3000);
CREATE TABLE pictures (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	token VARCHAR(64) NOT NULL, 
	path TEXT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	concept TEXT NOT NULL, 
	level INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	clean_image TEXT NOT NULL, 
	CONSTRAINT pk_pictures PRIMARY KEY (id), 
	CONSTRAINT fk_pictures_version_id_versions FOREIGN KEY(version_id) REFERENCES versions (id), 
	CONSTRAINT uq_pictures_token UNIQUE (token)
);
INSERT INTO "pictures" VALUES(1,1,'vVgdbVUmLO1KF3j4','fire_0_level5.png','3c96dcb9859af33f1bcbe9d6297a39c371be3d3d3ea16e5ec45bf2fc62cb1dd0','fire',5,'','fire_0_level5.png');
INSERT INTO "pictures" VALUES(2,1,'dqMIAsQO3C3y0w8B','fire_0_level1.png','c9247b874f2aa92b086f6a8b9429a8824bce74707dcac9843ad2e9b1bf53e9e1','fire',1,'','fire_0_level5.png');
INSERT INTO "pictures" VALUES(3,1,'5bYTVOvksXJ7sYWq','fire_1_level5.png','b873ad523d57dd3bd296f337c6f53906fb3ada02445e6872c3ba56945f351ce8','fire',5,'','fire_1_level5.png');
INSERT INTO "pictures" VALUES(4,1,'RBonEGqX-brBt5IX','fire_1_level1.png','1b0ba3c99371ef691a97647bd0f6a537ea2ea9cbf2374c6173763bf88f2d4f8f','fire',1,'','fire_1_level5.png');
INSERT INTO "pictures" VALUES(5,1,'Lqqdg7sE9fH0ZSSL','puppies_0_level5.png','4e976dfa0f5d1c20b67c102649ff0f5047f032bc286f0651cc128531d4e598e3','puppies',5,'','puppies_0_level5.png');
INSERT INTO "pictures" VALUES(6,1,'FcTrGAo3l-nc40l_','puppies_0_level1.png','e6e1142b7510f8c8d9083837597a59345235c076d3a59f9f65c6e6a251dfeca2','puppies',1,'','puppies_0_level5.png');
INSERT INTO "pictures" VALUES(7,1,'a8BeC_OT10pZjUYB','puppies_1_level5.png','d5aa6f329752a1c8a9608515af880ba86c51b79d512048ba2aa01b169d6a2f2b','puppies',5,'','puppies_1_level5.png');
INSERT INTO "pictures" VALUES(8,1,'KtXMmefPgTbhVQOY','puppies_1_level1.png','bbc5fb3a79458e2a237c0394991e086700aac2d2c1a32ecb79c6a8a75a9c1413','puppies',1,'','puppies_1_level5.png');
CREATE TABLE sessions (
	id VARCHAR(32) NOT NULL, 
	version_id INTEGER NOT NULL, 
	slot_id INTEGER, 
	participant VARCHAR(128), 
	origin VARCHAR(16) NOT NULL, 
	pool VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	timeline JSON NOT NULL, 
	check_attempts INTEGER NOT NULL, 
	checked BOOLEAN NOT NULL, 
	created_ms BIGINT NOT NULL, 
	seen_ms BIGINT NOT NULL, 
	lease_until_ms BIGINT NOT NULL, 
	completed_ms BIGINT, 
	released BOOLEAN NOT NULL, 
	excluded_by JSON, 
	fills BOOLEAN NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (id), 
	CONSTRAINT fk_sessions_slot_id_slots FOREIGN KEY(slot_id) REFERENCES slots (id), 
	CONSTRAINT fk_sessions_version_id_versions FOREIGN KEY(version_id) REFERENCES versions (id), 
	CONSTRAINT uq_sessions_origin UNIQUE (origin, participant)
);
INSERT INTO "sessions" VALUES('4286024ca079ee0639695e8399ec73c2',1,1,'finished','prolific','data','complete','[{"role": "main", "kind": "naming", "picture": 4, "trap": null}, {"role": "main", "kind": "naming", "picture": 5, "trap": null}, {"role": "main", "kind": "naming", "picture": 8, "trap": null}]',0,1,1000,2000,1802000,2000,0,'[]',1);
INSERT INTO "sessions" VALUES('8d3d342b75ba11d9adf044aea1f3d7af',1,2,'at-trial-1','prolific','data','active','[{"role": "main", "kind": "naming", "picture": 6, "trap": null}, {"role": "main", "kind": "naming", "picture": 2, "trap": null}, {"role": "main", "kind": "naming", "picture": 7, "trap": null}]',0,1,3000,4000,1804000,NULL,0,NULL,0);
INSERT INTO "sessions" VALUES('4d1858747799ef7abe52aa46be9c16d0',1,NULL,NULL,'prolific','data','withdrawn','[]',0,1,5000,6000,1806000,6000,0,NULL,0);
CREATE TABLE slots (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	pictures JSON NOT NULL, 
	CONSTRAINT pk_slots PRIMARY KEY (id), 
	CONSTRAINT fk_slots_version_id_versions FOREIGN KEY(version_id) REFERENCES versions (id)
);
INSERT INTO "slots" VALUES(1,1,0,'[4, 5, 8]');
INSERT INTO "slots" VALUES(2,1,1,'[2, 7, 6]');
INSERT INTO "slots" VALUES(3,1,2,'[4, 1, 6]');
INSERT INTO "slots" VALUES(4,1,3,'[7, 2, 3]');
INSERT INTO "slots" VALUES(5,1,4,'[1, 8, 5]');
INSERT INTO "slots" VALUES(6,1,5,'[3, 8, 5]');
CREATE TABLE study (
	id INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	password_hash TEXT, 
	key_fingerprint VARCHAR(64) NOT NULL, 
	created_ms BIGINT NOT NULL, 
	CONSTRAINT pk_study PRIMARY KEY (id)
);
INSERT INTO "study" VALUES(1,'open',NULL,'4be67370bc789e3cc524813359d882b8cbf5cc7ed7de08ca5a50457b110b9959',1796069973993);
CREATE TABLE submissions (
	id INTEGER NOT NULL, 
	session_id VARCHAR(32) NOT NULL, 
	study_id VARCHAR(128) NOT NULL, 
	submission_id VARCHAR(128) NOT NULL, 
	status VARCHAR(32), 
	created_ms BIGINT NOT NULL, 
	status_ms BIGINT, 
	CONSTRAINT pk_submissions PRIMARY KEY (id), 
	CONSTRAINT fk_submissions_session_id_sessions FOREIGN KEY(session_id) REFERENCES sessions (id), 
	CONSTRAINT uq_submissions_submission_id UNIQUE (submission_id)
);
INSERT INTO "submissions" VALUES(1,'4286024ca079ee0639695e8399ec73c2','s','one',NULL,1000,NULL);
INSERT INTO "submissions" VALUES(2,'8d3d342b75ba11d9adf044aea1f3d7af','s','two',NULL,3000,NULL);
CREATE TABLE tombstones (
	digest VARCHAR(64) NOT NULL, 
	at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_tombstones PRIMARY KEY (digest)
);
INSERT INTO "tombstones" VALUES('d76620aff81fa478a1e295f71a0f4fff40bedad3f24751cf347cc141d79d0876',7000);
CREATE TABLE versions (
	id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	protocol JSON NOT NULL, 
	stimuli VARCHAR(64) NOT NULL, 
	opened_ms BIGINT NOT NULL, 
	CONSTRAINT pk_versions PRIMARY KEY (id), 
	CONSTRAINT uq_versions_number UNIQUE (number)
);
INSERT INTO "versions" VALUES(1,1,'0ec51df7b9149b84b9eefc1e104c2c1bf57d2fe4448d92ecaa6adc33ab21bd50','{"name": "small", "about": "small", "title": "What do you see?", "language": "en", "wording": {}, "levels": [5, 1], "ratings_per_image": 2, "trials_per_participant": 3, "trial": {"kind": "naming"}, "practice": 0, "break_every": null, "information": "Information.", "consent": ["I agree."], "retention": "Retention.", "instructions": "Type **two** words.", "checks": [], "catch": null, "traps": [], "timing": {"minimum_ms": 0, "lease_minutes": 30, "seconds_per_trial": 10}, "debrief": "Debrief.", "completion": {"path": "prolific", "code": "C0MPLETE"}, "exclusions": {"check_attempts": null, "missed_catch": null, "program_answers": null, "pasted": null, "without_typing": null, "cannot_tell_share": null, "minutes_below": null, "minutes_above": null, "refill": true}, "scoring": {}, "seed": 0}','3399971947ea5a93e1103eb8d63ae86191a8767aba337283cf4376a8e2b00d46',1796069974074);
CREATE INDEX ix_pictures_version_id ON pictures (version_id);
CREATE INDEX ix_slots_version_id ON slots (version_id);
CREATE INDEX ix_sessions_pool_slot ON sessions (pool, slot_id);
CREATE INDEX ix_sessions_version_id ON sessions (version_id);
CREATE INDEX ix_events_session_id ON events (session_id);
CREATE INDEX ix_submissions_session_id ON submissions (session_id);
CREATE TRIGGER answers_unchanged BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'answers is append-only'); END;
CREATE TRIGGER answers_kept BEFORE DELETE ON answers WHEN (SELECT state FROM sessions WHERE id = OLD.session_id) <> 'withdrawn' BEGIN SELECT RAISE(ABORT, 'answers is append-only'); END;
CREATE TRIGGER events_unchanged BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events is append-only'); END;
CREATE TRIGGER events_kept BEFORE DELETE ON events WHEN (SELECT state FROM sessions WHERE id = OLD.session_id) <> 'withdrawn' BEGIN SELECT RAISE(ABORT, 'events is append-only'); END;
COMMIT;
