PRAGMA page_size=4096;
BEGIN TRANSACTION;
CREATE TABLE answers(
  key TEXT PRIMARY KEY, digest TEXT NOT NULL, status INTEGER NOT NULL, data BLOB NOT NULL,
  at REAL NOT NULL
) STRICT;
INSERT INTO answers VALUES('key-1','digest-1',201,CAST('{"document": {"enrolment_id": "enr-4b80290f-0000000000000001", "principal_id": "own-4b80290f-1d4d74e661a0ea71", "sealed_challenge": "dd"}, "headers": null}' AS BLOB),1001.0);
INSERT INTO answers VALUES('key-2','digest-2',201,CAST('{"document": {"principal_id": "own-4b80290f-1d4d74e661a0ea71", "role": "owner", "key_id": "own-4b80290f-1d4d74e661a0ea71/1"}, "headers": null}' AS BLOB),1002.0);
INSERT INTO answers VALUES('key-3','digest-3',201,CAST('{"document": {"name": "wrist", "version": 1, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "UPLOADING", "why": "waits for its files", "files": {"evaluation": false, "training": false, "transfer": false, "weights": false}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1003.0);
INSERT INTO answers VALUES('key-4','digest-4',200,CAST('{"document": {"name": "wrist", "version": 1, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "UPLOADING", "why": "waits for its files", "files": {"evaluation": true, "training": false, "transfer": false, "weights": false}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1004.0);
INSERT INTO answers VALUES('key-5','digest-5',200,CAST('{"document": {"name": "wrist", "version": 1, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "UPLOADING", "why": "waits for its files", "files": {"evaluation": true, "training": true, "transfer": false, "weights": false}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1005.0);
INSERT INTO answers VALUES('key-6','digest-6',200,CAST('{"document": {"name": "wrist", "version": 1, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "UPLOADING", "why": "waits for its files", "files": {"evaluation": true, "training": true, "transfer": true, "weights": false}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1006.0);
INSERT INTO answers VALUES('key-7','digest-7',200,CAST('{"document": {"name": "wrist", "version": 1, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "EVALUATING", "why": "all files are there", "files": {"evaluation": true, "training": true, "transfer": true, "weights": true}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1007.0);
INSERT INTO answers VALUES('key-8','digest-8',201,CAST('{"document": {"name": "wrist", "version": 2, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "UPLOADING", "why": "waits for its files", "files": {"evaluation": false, "training": false, "transfer": false, "weights": false}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1008.0);
INSERT INTO answers VALUES('key-9','digest-9',200,CAST('{"document": {"name": "wrist", "version": 2, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "UPLOADING", "why": "waits for its files", "files": {"evaluation": true, "training": false, "transfer": false, "weights": false}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1009.0);
INSERT INTO answers VALUES('key-10','digest-10',200,CAST('{"document": {"name": "wrist", "version": 2, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "UPLOADING", "why": "waits for its files", "files": {"evaluation": true, "training": true, "transfer": false, "weights": false}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1010.0);
INSERT INTO answers VALUES('key-11','digest-11',200,CAST('{"document": {"name": "wrist", "version": 2, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "UPLOADING", "why": "waits for its files", "files": {"evaluation": true, "training": true, "transfer": true, "weights": false}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1011.0);
INSERT INTO answers VALUES('key-12','digest-12',200,CAST('{"document": {"name": "wrist", "version": 2, "owner_id": "own-4b80290f-1d4d74e661a0ea71", "state": "EVALUATING", "why": "all files are there", "files": {"evaluation": true, "training": true, "transfer": true, "weights": true}, "build_progress": 0.0, "family_reused": false, "measured": null, "model": null}, "headers": null}' AS BLOB),1012.0);
INSERT INTO answers VALUES('key-13','digest-13',204,CAST('{"document": null, "headers": null}' AS BLOB),1013.0);
INSERT INTO answers VALUES('key-14','digest-14',204,CAST('{"document": null, "headers": null}' AS BLOB),1014.0);
INSERT INTO answers VALUES('key-15','digest-15',204,CAST('{"document": null, "headers": null}' AS BLOB),1015.0);
INSERT INTO answers VALUES('key-16','digest-16',204,CAST('{"document": null, "headers": null}' AS BLOB),1016.0);
CREATE INDEX answers_by_age ON answers(at);
CREATE TABLE due(
  at REAL NOT NULL, job_id TEXT NOT NULL, node TEXT NOT NULL, attempt INTEGER NOT NULL,
  PRIMARY KEY (job_id, node)
) STRICT;
INSERT INTO due VALUES(1912.0,'wrist@2','register',1);
CREATE INDEX due_by_time ON due(at, job_id, node);
CREATE TABLE events(
  sequence INTEGER PRIMARY KEY, stream TEXT NOT NULL, at REAL NOT NULL, data BLOB NOT NULL
) STRICT;
INSERT INTO events VALUES(1,'own-4b80290f-1d4d74e661a0ea71',1001.0,CAST('EnrolmentOpened {"principal_id":"own-4b80290f-1d4d74e661a0ea71","enrolment":{"id":"enr-4b80290f-0000000000000001","principal_id":"own-4b80290f-1d4d74e661a0ea71","role":"owner","keys":{"number":1,"sign":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","receive":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"},"holdings":[],"challenge":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","confirmed":false}}' AS BLOB));
INSERT INTO events VALUES(2,'own-4b80290f-1d4d74e661a0ea71',1002.0,CAST('Enrolled {"principal_id":"own-4b80290f-1d4d74e661a0ea71","enrolment_id":"enr-4b80290f-0000000000000001","principal":{"id":"own-4b80290f-1d4d74e661a0ea71","role":"owner","keys":[{"number":1,"sign":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","receive":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"}],"enrolled_at":1002.0,"keys_given":1,"holdings":[],"profiles":[],"jobs":[],"manifest_versions":{},"calibrations":{},"held":[]}}' AS BLOB));
INSERT INTO events VALUES(3,'wrist',1003.0,CAST('UploadStarted {"name":"wrist","version":1,"owner_id":"own-4b80290f-1d4d74e661a0ea71","spec":{"architecture":{"id":"resnet1d","kwargs":{}},"preprocessing":{"window":4,"step":2,"mean":[0.0],"deviation":[1.0],"vectors":[],"rotation_sd_rad":0.0},"labels":["up","down"],"files":{"evaluation":"0000000000000000000000000000000000000000000000000000000000000000","training":"1111111111111111111111111111111111111111111111111111111111111111","transfer":"2222222222222222222222222222222222222222222222222222222222222222","weights":"3333333333333333333333333333333333333333333333333333333333333333"}}}' AS BLOB));
INSERT INTO events VALUES(4,'wrist',1004.0,CAST('FileReceived {"name":"wrist","version":1,"file":"evaluation"}' AS BLOB));
INSERT INTO events VALUES(5,'wrist',1005.0,CAST('FileReceived {"name":"wrist","version":1,"file":"training"}' AS BLOB));
INSERT INTO events VALUES(6,'wrist',1006.0,CAST('FileReceived {"name":"wrist","version":1,"file":"transfer"}' AS BLOB));
INSERT INTO events VALUES(7,'wrist',1007.0,CAST('FileReceived {"name":"wrist","version":1,"file":"weights"}' AS BLOB));
INSERT INTO events VALUES(8,'wrist',1007.0,CAST('VersionMoved {"name":"wrist","version":1,"state":"EVALUATING","why":"all files are there","lease_until":1907.0}' AS BLOB));
INSERT INTO events VALUES(9,'wrist',1008.0,CAST('UploadStarted {"name":"wrist","version":2,"owner_id":"own-4b80290f-1d4d74e661a0ea71","spec":{"architecture":{"id":"resnet1d","kwargs":{}},"preprocessing":{"window":4,"step":2,"mean":[0.0],"deviation":[1.0],"vectors":[],"rotation_sd_rad":0.0},"labels":["up","down"],"files":{"evaluation":"0000000000000000000000000000000000000000000000000000000000000000","training":"1111111111111111111111111111111111111111111111111111111111111111","transfer":"2222222222222222222222222222222222222222222222222222222222222222","weights":"3333333333333333333333333333333333333333333333333333333333333333"}}}' AS BLOB));
INSERT INTO events VALUES(10,'wrist',1009.0,CAST('FileReceived {"name":"wrist","version":2,"file":"evaluation"}' AS BLOB));
INSERT INTO events VALUES(11,'wrist',1010.0,CAST('FileReceived {"name":"wrist","version":2,"file":"training"}' AS BLOB));
INSERT INTO events VALUES(12,'wrist',1011.0,CAST('FileReceived {"name":"wrist","version":2,"file":"transfer"}' AS BLOB));
INSERT INTO events VALUES(13,'wrist',1012.0,CAST('FileReceived {"name":"wrist","version":2,"file":"weights"}' AS BLOB));
INSERT INTO events VALUES(14,'wrist',1012.0,CAST('VersionMoved {"name":"wrist","version":2,"state":"EVALUATING","why":"all files are there","lease_until":1912.0}' AS BLOB));
INSERT INTO events VALUES(15,'wrist',1013.0,CAST('VersionMeasured {"name":"wrist","version":1,"measured":{"accuracy":0.9,"accuracy_se":0.02,"evaluation_set":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size_bytes":600,"parameters":150}}' AS BLOB));
INSERT INTO events VALUES(16,'wrist',1013.0,CAST('VersionMoved {"name":"wrist","version":1,"state":"BUILDING","why":"accuracy 0.900 (SE 0.020) measured","lease_until":1913.0}' AS BLOB));
INSERT INTO events VALUES(17,'wrist',1014.0,CAST('VersionMoved {"name":"wrist","version":1,"state":"BUILDING","why":"worker died","lease_until":1914.0}' AS BLOB));
INSERT INTO events VALUES(18,'wrist',1015.0,CAST('TableStored {"name":"wrist","version":1,"table":{"family_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","registered_accuracy":0.9,"registered_accuracy_se":0.02,"classes":2,"rows":[],"probes":[]},"reused":false}' AS BLOB));
INSERT INTO events VALUES(19,'wrist',1015.0,CAST('VersionMoved {"name":"wrist","version":1,"state":"AVAILABLE","why":"a family of 0 students, built","lease_until":null}' AS BLOB));
INSERT INTO events VALUES(20,'wrist',1015.0,CAST('ModelAnnounced {"name":"wrist","model":{"name":"wrist","version":1,"digest":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","owner_id":"own-00000001-0000000000000001","architecture":{"id":"resnet1d","kwargs":{}},"preprocessing":{"window":4,"step":2,"mean":[0.0],"deviation":[1.0],"vectors":[],"rotation_sd_rad":0.0},"labels":["up","down"],"accuracy":0.9,"accuracy_se":0.02,"evaluation_set":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size_bytes":600,"parameters":150,"family_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","transfer_inputs":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","transfer_input_bytes":10,"transfer_input_count":2}}' AS BLOB));
INSERT INTO events VALUES(21,'wrist',1016.0,CAST('AliasSet {"name":"wrist","alias":"production","version":1}' AS BLOB));
CREATE INDEX events_of_stream ON events(stream, sequence);
CREATE TABLE journal(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster_id TEXT NOT NULL, publisher TEXT NOT NULL, shards INTEGER NOT NULL,
  schema INTEGER NOT NULL, epoch INTEGER NOT NULL
) STRICT;
INSERT INTO journal VALUES(1,'local','vault',2,2,1);
CREATE TABLE listed(
  job_id TEXT PRIMARY KEY, submitted_at REAL NOT NULL, client_id TEXT NOT NULL,
  edge_model_profile_id TEXT NOT NULL, central_model TEXT NOT NULL, state TEXT NOT NULL,
  verdict TEXT
) STRICT;
CREATE INDEX listed_by_client ON listed(client_id, submitted_at, job_id);
CREATE INDEX listed_by_model ON listed(central_model, submitted_at, job_id);
CREATE INDEX listed_by_profile ON listed(edge_model_profile_id, submitted_at, job_id);
CREATE INDEX listed_by_state ON listed(state, submitted_at, job_id);
CREATE INDEX listed_by_time ON listed(submitted_at, job_id);
CREATE INDEX listed_by_verdict ON listed(verdict, submitted_at, job_id);
CREATE TABLE outbox(
  sequence INTEGER PRIMARY KEY, job_id TEXT NOT NULL, node TEXT NOT NULL, kind TEXT NOT NULL,
  attempt INTEGER NOT NULL, UNIQUE (job_id, node)
) STRICT;
INSERT INTO outbox VALUES(2,'wrist@2','register','evaluate',1);
CREATE TABLE rows(key TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
INSERT INTO "rows" VALUES('enr-4b80290f-0000000000000001',CAST('EnrolmentRow {"id":"enr-4b80290f-0000000000000001","principal_id":"own-4b80290f-1d4d74e661a0ea71","role":"owner","keys":{"number":1,"sign":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","receive":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"},"holdings":[],"challenge":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","confirmed":true}' AS BLOB));
INSERT INTO "rows" VALUES('own-4b80290f-1d4d74e661a0ea71',CAST('PrincipalRow {"id":"own-4b80290f-1d4d74e661a0ea71","role":"owner","keys":[{"number":1,"sign":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","receive":"c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"}],"enrolled_at":1002.0,"keys_given":1,"holdings":[],"profiles":[],"jobs":[],"manifest_versions":{},"calibrations":{},"held":[]}' AS BLOB));
INSERT INTO "rows" VALUES('name/wrist',CAST('NameRow {"name":"wrist","owner_id":"own-4b80290f-1d4d74e661a0ea71","versions":2,"latest":1,"aliases":[["production",1]]}' AS BLOB));
INSERT INTO "rows" VALUES('version/wrist@1',CAST('VersionRow {"name":"wrist","version":1,"owner_id":"own-4b80290f-1d4d74e661a0ea71","spec":{"architecture":{"id":"resnet1d","kwargs":{}},"preprocessing":{"window":4,"step":2,"mean":[0.0],"deviation":[1.0],"vectors":[],"rotation_sd_rad":0.0},"labels":["up","down"],"files":{"evaluation":"0000000000000000000000000000000000000000000000000000000000000000","training":"1111111111111111111111111111111111111111111111111111111111111111","transfer":"2222222222222222222222222222222222222222222222222222222222222222","weights":"3333333333333333333333333333333333333333333333333333333333333333"}},"received":["evaluation","training","transfer","weights"],"state":"AVAILABLE","attempt":1,"why":"a family of 0 students, built","measured":{"accuracy":0.9,"accuracy_se":0.02,"evaluation_set":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size_bytes":600,"parameters":150},"model":{"name":"wrist","version":1,"digest":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","owner_id":"own-00000001-0000000000000001","architecture":{"id":"resnet1d","kwargs":{}},"preprocessing":{"window":4,"step":2,"mean":[0.0],"deviation":[1.0],"vectors":[],"rotation_sd_rad":0.0},"labels":["up","down"],"accuracy":0.9,"accuracy_se":0.02,"evaluation_set":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size_bytes":600,"parameters":150,"family_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","transfer_inputs":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","transfer_input_bytes":10,"transfer_input_count":2},"family_reused":false}' AS BLOB));
INSERT INTO "rows" VALUES('version/wrist@2',CAST('VersionRow {"name":"wrist","version":2,"owner_id":"own-4b80290f-1d4d74e661a0ea71","spec":{"architecture":{"id":"resnet1d","kwargs":{}},"preprocessing":{"window":4,"step":2,"mean":[0.0],"deviation":[1.0],"vectors":[],"rotation_sd_rad":0.0},"labels":["up","down"],"files":{"evaluation":"0000000000000000000000000000000000000000000000000000000000000000","training":"1111111111111111111111111111111111111111111111111111111111111111","transfer":"2222222222222222222222222222222222222222222222222222222222222222","weights":"3333333333333333333333333333333333333333333333333333333333333333"}},"received":["evaluation","training","transfer","weights"],"state":"EVALUATING","attempt":1,"why":"all files are there","measured":null,"model":null,"family_reused":false}' AS BLOB));
INSERT INTO "rows" VALUES('table/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',CAST('TableRow {"family_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","table":{"family_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","registered_accuracy":0.9,"registered_accuracy_se":0.02,"classes":2,"rows":[],"probes":[]}}' AS BLOB));
CREATE TABLE waiting(job_id TEXT PRIMARY KEY, model TEXT NOT NULL) STRICT;
CREATE INDEX waiting_by_model ON waiting(model, job_id);
COMMIT TRANSACTION;
