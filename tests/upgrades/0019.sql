BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0019');
CREATE TABLE "answer" (
	query_pk INTEGER NOT NULL, 
	decision_is_queries BOOLEAN NOT NULL, 
	payload TEXT NOT NULL, 
	CONSTRAINT pk_answer PRIMARY KEY (query_pk)
);
INSERT INTO "answer" VALUES(1,0,'{"text":"","aggregator":"roll_call","n_calls":3}');
INSERT INTO "answer" VALUES(2,0,'{"text":"","aggregator":"roll_call","n_calls":3}');
INSERT INTO "answer" VALUES(3,0,'{"text":"","aggregator":"roll_call","n_calls":3}');
INSERT INTO "answer" VALUES(4,0,'{"text":"","aggregator":"roll_call","n_calls":3}');
INSERT INTO "answer" VALUES(5,0,'{"text":"","aggregator":"roll_call","n_calls":3}');
INSERT INTO "answer" VALUES(6,0,'{"text":"","aggregator":"roll_call","n_calls":3}');
INSERT INTO "answer" VALUES(7,1,'{"text":"The answer is 4.","value":"4","confidence":0.6567943095825317,"aggregator":"learned","answered_by":"ada","notes":["vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead"],"votes":[{"expert_id":"ada","value":"4","weight":4.340665267174225},{"expert_id":"eve","value":"5","weight":3.476800122405107},{"expert_id":"bob","value":"4","weight":2.6852621860921695}],"usage_by_role":{"expert":{"prompt_tokens":69,"completion_tokens":12}},"n_calls":3}');
INSERT INTO "answer" VALUES(8,1,'{"text":"The answer is 4.","value":"4","confidence":0.75,"aggregator":"first","answered_by":"ada","votes":[{"expert_id":"ada","value":"4","weight":1.0}],"usage_by_role":{"expert":{"prompt_tokens":5,"completion_tokens":4}},"n_calls":1}');
INSERT INTO "answer" VALUES(9,1,'{"text":"The answer is 4.","value":"4","confidence":0.6567943095825317,"aggregator":"learned","answered_by":"ada","notes":["vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead"],"votes":[{"expert_id":"ada","value":"4","weight":4.340665267174225},{"expert_id":"eve","value":"5","weight":3.476800122405107},{"expert_id":"bob","value":"4","weight":2.6852621860921695}],"usage_by_role":{"expert":{"prompt_tokens":15,"completion_tokens":12}},"n_calls":3}');
INSERT INTO "answer" VALUES(10,1,'{"text":"The answer is 4.","value":"4","confidence":0.6567943095825317,"aggregator":"learned","answered_by":"ada","notes":["vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead"],"votes":[{"expert_id":"ada","value":"4","weight":4.340665267174225},{"expert_id":"eve","value":"5","weight":3.476800122405107},{"expert_id":"bob","value":"4","weight":2.6852621860921695}],"usage_by_role":{"expert":{"prompt_tokens":69,"completion_tokens":12}},"n_calls":3}');
INSERT INTO "answer" VALUES(11,1,'{"text":"The answer is 4.","value":"4","confidence":0.6700693919842864,"aggregator":"learned","answered_by":"ada","notes":["vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead"],"votes":[{"expert_id":"ada","value":"4","weight":4.391428145476354},{"expert_id":"eve","value":"5","weight":3.4708739583944967},{"expert_id":"bob","value":"4","weight":2.7399467474883816}],"usage_by_role":{"expert":{"prompt_tokens":69,"completion_tokens":12}},"n_calls":3}');
INSERT INTO "answer" VALUES(12,1,'{"text":"The answer is 5.","value":"5","confidence":0.9162070281405817,"aggregator":"learned","answered_by":"ada","notes":["vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead"],"votes":[{"expert_id":"ada","value":"5","weight":4.031848838816331},{"expert_id":"eve","value":"5","weight":3.5108268472395574}],"usage_by_role":{"expert":{"prompt_tokens":46,"completion_tokens":8}},"n_calls":2}');
INSERT INTO "answer" VALUES(13,1,'{"text":"The answer is 5.","value":"5","confidence":0.9528238712780259,"aggregator":"learned","answered_by":"ada","notes":["vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead"],"votes":[{"expert_id":"ada","value":"5","weight":4.505319326141234},{"expert_id":"eve","value":"5","weight":3.8964647329712734}],"usage_by_role":{"expert":{"prompt_tokens":46,"completion_tokens":8}},"n_calls":2}');
INSERT INTO "answer" VALUES(14,1,'{"text":"The answer is 4.","value":"4","confidence":0.5673837227269254,"aggregator":"learned","answered_by":"ada","notes":["vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead"],"votes":[{"expert_id":"ada","value":"4","weight":4.031848838816331},{"expert_id":"eve","value":"5","weight":3.5108268472395574},{"expert_id":"bob","value":"4","weight":2.3230656653434347}],"usage_by_role":{"expert":{"prompt_tokens":69,"completion_tokens":12}},"n_calls":3}');
INSERT INTO "answer" VALUES(15,1,'{"text":"The answer is 5.","value":"5","confidence":0.9528238712780259,"aggregator":"learned","answered_by":"ada","notes":["vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead"],"votes":[{"expert_id":"ada","value":"5","weight":4.505319326141234},{"expert_id":"eve","value":"5","weight":3.8964647329712734}],"usage_by_role":{"expert":{"prompt_tokens":46,"completion_tokens":8}},"n_calls":2}');
INSERT INTO "answer" VALUES(18,1,'{"text":"The answer is 4.","value":"4","confidence":0.4444444444444444,"aggregator":"first","answered_by":"bob","votes":[{"expert_id":"bob","value":"4","weight":1.0}],"usage_by_role":{"expert":{"prompt_tokens":23,"completion_tokens":4}},"n_calls":1}');
INSERT INTO "answer" VALUES(19,1,'{"text":"The answer is 4.","value":"4","confidence":0.4444444444444444,"aggregator":"first","answered_by":"bob","votes":[{"expert_id":"bob","value":"4","weight":1.0}],"usage_by_role":{"expert":{"prompt_tokens":23,"completion_tokens":4}},"n_calls":1}');
CREATE TABLE api_key (
	id TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_api_key PRIMARY KEY (id), 
	CONSTRAINT uq_api_key_digest UNIQUE (digest)
);
INSERT INTO "api_key" VALUES('key-84f3fc0d83314c85','33da728e36fbd3d630963b5b9121e36430ad2f4af28eb762933f003a4fc41c4f','{"id":"key-84f3fc0d83314c85","shown":"sk-muster-qpYn…","terms":{"name":"admin","scopes":["admin"]},"created_at":1795858964.6833735}',1.79585896468337345125e+09);
INSERT INTO "api_key" VALUES('key-d547e413abcd45ed','da6718cee7696979589be4b2c24d3b68d07289daa1a5446d1c66b6b5d9d1fdab','{"id":"key-d547e413abcd45ed","shown":"sk-muster-UQzr…","terms":{"name":"ask","budget":{"tokens":1000000}},"created_at":1795858966.3663888}',1.79585896636638879782e+09);
CREATE TABLE "assignment" (
	pk INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	query_pk INTEGER NOT NULL, 
	job_pk INTEGER NOT NULL, 
	stage INTEGER NOT NULL, 
	expert_id TEXT NOT NULL, 
	sample_ix INTEGER NOT NULL, 
	engine_id TEXT NOT NULL, 
	role TEXT NOT NULL, 
	prompt_ix INTEGER NOT NULL, 
	sampling TEXT NOT NULL, 
	est_tokens INTEGER NOT NULL, 
	priority INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	lease_owner TEXT, 
	lease_expires_at DOUBLE, 
	created_at DOUBLE NOT NULL, 
	response TEXT, 
	CONSTRAINT uq_assignment_query_pk_stage_expert_id_sample_ix UNIQUE (query_pk, stage, expert_id, sample_ix)
);
INSERT INTO "assignment" VALUES(1,1,1,0,'ada',0,'ada','expert',0,'{"seed":1196242048}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.2009309991990449,"engine_s":0.00006431149995478336}');
INSERT INTO "assignment" VALUES(2,1,1,0,'bob',0,'bob','expert',0,'{"seed":19845125}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"bob","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.11325000014039688,"engine_s":0.00004026049994839317}');
INSERT INTO "assignment" VALUES(3,1,1,0,'eve',0,'eve','expert',0,'{"seed":1819402144}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"eve","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.09594400034984574,"engine_s":0.00002921900007398411}');
INSERT INTO "assignment" VALUES(4,2,1,0,'ada',0,'ada','expert',0,'{"seed":519214844}',538,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.23924899960547918,"engine_s":0.00006431149995478336}');
INSERT INTO "assignment" VALUES(5,2,1,0,'bob',0,'bob','expert',0,'{"seed":251382030}',538,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"bob","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.1521989997854689,"engine_s":0.00004026049994839317}');
INSERT INTO "assignment" VALUES(6,2,1,0,'eve',0,'eve','expert',0,'{"seed":1839848374}',538,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"eve","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.11827800062746974,"engine_s":0.00002921900007398411}');
INSERT INTO "assignment" VALUES(7,3,1,0,'ada',0,'ada','expert',0,'{"seed":1983754228}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.14152199946693145,"engine_s":0.00006431149995478336}');
INSERT INTO "assignment" VALUES(8,3,1,0,'bob',0,'bob','expert',0,'{"seed":630368742}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"bob","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.07396099954348756,"engine_s":0.00004026049994839317}');
INSERT INTO "assignment" VALUES(9,3,1,0,'eve',0,'eve','expert',0,'{"seed":489342568}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"eve","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.06364599994412856,"engine_s":0.00002921900007398411}');
INSERT INTO "assignment" VALUES(10,4,1,0,'ada',0,'ada','expert',0,'{"seed":1998733027}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.11386099959054263,"engine_s":0.00006431149995478336}');
INSERT INTO "assignment" VALUES(11,4,1,0,'bob',0,'bob','expert',0,'{"seed":405886694}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"bob","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.05812699964735657,"engine_s":0.00004026049994839317}');
INSERT INTO "assignment" VALUES(12,4,1,0,'eve',0,'eve','expert',0,'{"seed":136061664}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"eve","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.04990500019630417,"engine_s":0.00002921900007398411}');
INSERT INTO "assignment" VALUES(13,5,1,0,'ada',0,'ada','expert',0,'{"seed":1243808750}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.17209799989359453,"engine_s":0.00006431149995478336}');
INSERT INTO "assignment" VALUES(14,5,1,0,'bob',0,'bob','expert',0,'{"seed":898507314}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"bob","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.09200800013786647,"engine_s":0.00004026049994839317}');
INSERT INTO "assignment" VALUES(15,5,1,0,'eve',0,'eve','expert',0,'{"seed":1774559607}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"eve","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.07861800077080261,"engine_s":0.00002921900007398411}');
INSERT INTO "assignment" VALUES(16,6,1,0,'ada',0,'ada','expert',0,'{"seed":658215087}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.38586899972870015,"engine_s":0.00006431149995478336}');
INSERT INTO "assignment" VALUES(17,6,1,0,'bob',0,'bob','expert',0,'{"seed":978795552}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"bob","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.241562999690359,"engine_s":0.00004026049994839317}');
INSERT INTO "assignment" VALUES(18,6,1,0,'eve',0,'eve','expert',0,'{"seed":1946834775}',537,0,'done',1,NULL,NULL,1.79585896290301680559e+09,'{"expert_id":"eve","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.17531400044390466,"engine_s":0.00002921900007398411}');
INSERT INTO "assignment" VALUES(19,7,2,0,'ada',0,'ada','expert',0,'{"seed":1196242048}',537,10,'done',1,NULL,NULL,1.7958589697729854584e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.28247399950487306,"engine_s":0.00028247399950487306}');
INSERT INTO "assignment" VALUES(20,7,2,1,'eve',0,'eve','expert',0,'{"seed":1819402144}',537,10,'done',1,NULL,NULL,1.79585896980199360845e+09,'{"expert_id":"eve","role":"expert","stage":1,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.11395099954825127,"engine_s":0.00011395099954825127}');
INSERT INTO "assignment" VALUES(21,7,2,2,'bob',0,'bob','expert',0,'{"seed":19845125}',537,10,'done',1,NULL,NULL,1.79585896981498908996e+09,'{"expert_id":"bob","role":"expert","stage":2,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.10620900047797477,"engine_s":0.00010620900047797477}');
INSERT INTO "assignment" VALUES(22,8,3,0,'ada',0,'ada','expert',0,'{"seed":273189834}',516,10,'done',1,NULL,NULL,1.79585896984999179837e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":5,"completion_tokens":4},"latency_ms":0.15623400031472556,"engine_s":0.00015623400031472556}');
INSERT INTO "assignment" VALUES(23,9,4,0,'ada',0,'ada','expert',0,'{"seed":273189834}',516,0,'done',1,NULL,NULL,1.79585897056501507754e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":5,"completion_tokens":4},"latency_ms":0.23054600023897365,"engine_s":0.00023054600023897365}');
INSERT INTO "assignment" VALUES(24,9,4,1,'eve',0,'eve','expert',0,'{"seed":748960414}',516,0,'done',1,NULL,NULL,1.79585897059201145169e+09,'{"expert_id":"eve","role":"expert","stage":1,"text":"The answer is 5.","usage":{"prompt_tokens":5,"completion_tokens":4},"latency_ms":0.12572900050145108,"engine_s":0.00012572900050145108}');
INSERT INTO "assignment" VALUES(25,9,4,2,'bob',0,'bob','expert',0,'{"seed":1450642823}',516,0,'done',1,NULL,NULL,1.79585897060999584201e+09,'{"expert_id":"bob","role":"expert","stage":2,"text":"The answer is 4.","usage":{"prompt_tokens":5,"completion_tokens":4},"latency_ms":0.11138700028823223,"engine_s":0.00011138700028823223}');
INSERT INTO "assignment" VALUES(26,10,5,0,'ada',0,'ada','expert',0,'{"seed":1196242048}',537,0,'done',1,NULL,NULL,1.79585897120999240877e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.1862700000856421,"engine_s":0.000060285500088260356}');
INSERT INTO "assignment" VALUES(27,11,5,0,'ada',0,'ada','expert',0,'{"seed":519214844}',538,0,'done',1,NULL,NULL,1.79585897120999240877e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.22336500023811823,"engine_s":0.000060285500088260356}');
INSERT INTO "assignment" VALUES(28,12,5,0,'ada',0,'ada','expert',0,'{"seed":1983754228}',537,0,'done',1,NULL,NULL,1.79585897120999240877e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.13413099986792076,"engine_s":0.000060285500088260356}');
INSERT INTO "assignment" VALUES(29,13,5,0,'ada',0,'ada','expert',0,'{"seed":1998733027}',537,0,'done',1,NULL,NULL,1.79585897120999240877e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.10905399994953768,"engine_s":0.000060285500088260356}');
INSERT INTO "assignment" VALUES(30,14,5,0,'ada',0,'ada','expert',0,'{"seed":1243808750}',537,0,'done',1,NULL,NULL,1.79585897120999240877e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.15799700031493558,"engine_s":0.000060285500088260356}');
INSERT INTO "assignment" VALUES(31,15,5,0,'ada',0,'ada','expert',0,'{"seed":658215087}',537,0,'done',1,NULL,NULL,1.79585897120999240877e+09,'{"expert_id":"ada","role":"expert","stage":0,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.3617130005295621,"engine_s":0.000060285500088260356}');
INSERT INTO "assignment" VALUES(32,10,5,1,'eve',0,'eve','expert',0,'{"seed":1819402144}',537,0,'done',1,NULL,NULL,1.79585897126100802424e+09,'{"expert_id":"eve","role":"expert","stage":1,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.10624999958963599,"engine_s":0.000038793333260400686}');
INSERT INTO "assignment" VALUES(33,11,5,1,'eve',0,'eve','expert',0,'{"seed":1839848374}',538,0,'done',1,NULL,NULL,1.79585897126100802424e+09,'{"expert_id":"eve","role":"expert","stage":1,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.1319089997195988,"engine_s":0.000038793333260400686}');
INSERT INTO "assignment" VALUES(34,12,5,1,'eve',0,'eve','expert',0,'{"seed":489342568}',537,0,'done',1,NULL,NULL,1.79585897126100802424e+09,'{"expert_id":"eve","role":"expert","stage":1,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.07137800002965378,"engine_s":0.000038793333260400686}');
INSERT INTO "assignment" VALUES(35,13,5,1,'eve',0,'eve','expert',0,'{"seed":136061664}',537,0,'done',1,NULL,NULL,1.79585897126100802424e+09,'{"expert_id":"eve","role":"expert","stage":1,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.055933999647095334,"engine_s":0.000038793333260400686}');
INSERT INTO "assignment" VALUES(36,14,5,1,'eve',0,'eve','expert',0,'{"seed":1774559607}',537,0,'done',1,NULL,NULL,1.79585897126100802424e+09,'{"expert_id":"eve","role":"expert","stage":1,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.08712099952390417,"engine_s":0.000038793333260400686}');
INSERT INTO "assignment" VALUES(37,15,5,1,'eve',0,'eve','expert',0,'{"seed":1946834775}',537,0,'done',1,NULL,NULL,1.79585897126100802424e+09,'{"expert_id":"eve","role":"expert","stage":1,"text":"The answer is 5.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.23275999956240412,"engine_s":0.000038793333260400686}');
INSERT INTO "assignment" VALUES(38,10,5,2,'bob',0,'bob','expert',0,'{"seed":19845125}',537,0,'done',1,NULL,NULL,1.79585897131600666053e+09,'{"expert_id":"bob","role":"expert","stage":2,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.11341099980199942,"engine_s":0.00006803233342604169}');
INSERT INTO "assignment" VALUES(39,11,5,2,'bob',0,'bob','expert',0,'{"seed":251382030}',538,0,'done',1,NULL,NULL,1.79585897131600666053e+09,'{"expert_id":"bob","role":"expert","stage":2,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.20409700027812505,"engine_s":0.00006803233342604169}');
INSERT INTO "assignment" VALUES(40,14,5,2,'bob',0,'bob','expert',0,'{"seed":898507314}',537,0,'done',1,NULL,NULL,1.79585897131600666053e+09,'{"expert_id":"bob","role":"expert","stage":2,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.08998500015877653,"engine_s":0.00006803233342604169}');
INSERT INTO "assignment" VALUES(41,16,6,0,'ada',0,'ada','expert',0,'{"seed":419594972}',540,0,'leased',1,'old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',1.79585898678601026535e+09,1.79585897169101977354e+09,NULL);
INSERT INTO "assignment" VALUES(42,17,6,0,'ada',0,'ada','expert',0,'{"seed":419594972}',540,0,'leased',1,'old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',1.79585898678601026535e+09,1.79585897169101977354e+09,NULL);
INSERT INTO "assignment" VALUES(43,18,6,0,'bob',0,'bob','expert',0,'{"seed":19845125}',537,0,'done',1,NULL,NULL,1.79585897169101977354e+09,'{"expert_id":"bob","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.0538200001756195,"engine_s":0.00008256399996753318}');
INSERT INTO "assignment" VALUES(44,19,6,0,'bob',0,'bob','expert',0,'{"seed":251382030}',538,0,'done',1,NULL,NULL,1.79585897169101977354e+09,'{"expert_id":"bob","role":"expert","stage":0,"text":"The answer is 4.","usage":{"prompt_tokens":23,"completion_tokens":4},"latency_ms":0.16512799993506633,"engine_s":0.00008256399996753318}');
CREATE TABLE batch (
	pk INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	state TEXT NOT NULL, 
	input_file_id TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	worked_until DOUBLE NOT NULL, 
	attempt INTEGER NOT NULL, 
	CONSTRAINT pk_batch PRIMARY KEY (pk), 
	CONSTRAINT uq_batch_id UNIQUE (id)
);
INSERT INTO "batch" VALUES(1,'batch_3c7b10190728461998f333a6ed99ebeb','key-84f3fc0d83314c85','completed','file-c2a1ceb7b7b0427e880c6c27c9627136','{"id":"batch_3c7b10190728461998f333a6ed99ebeb","owner":"key-84f3fc0d83314c85","endpoint":"/v1/chat/completions","input_file_id":"file-c2a1ceb7b7b0427e880c6c27c9627136","window":"24h","state":"completed","model":"auto","output_file_id":"file-820ab041fe49db0abe0d044d72dab05b","counts":{"total":1,"completed":1},"tokens":{"prompt_tokens":15,"completion_tokens":12},"created_at":1795858970.0,"expires_at":1795945370.0,"in_progress_at":1795858970.5591652,"finalizing_at":1795858971.0699768,"completed_at":1795858971.094877}',0.0,2);
CREATE TABLE card (
	pk INTEGER NOT NULL, 
	expert_id TEXT NOT NULL, 
	profile_hash TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	CONSTRAINT pk_card PRIMARY KEY (pk)
);
INSERT INTO "card" VALUES(1,'ada','ce30f4b5b92700d0','{"expert_id":"ada","fingerprint":"672eecc65fec92c7","profile_hash":"ce30f4b5b92700d0","outcomes_hash":"9df5216b0ee1cdcd","total":{"n_right":5.0,"n_wrong":1.0},"skills":{"plus":{"n_right":5.0,"n_wrong":1.0}},"mean_tokens":4.0,"mean_latency_ms":0.20892166624738215}');
INSERT INTO "card" VALUES(2,'bob','ce30f4b5b92700d0','{"expert_id":"bob","fingerprint":"76e739b3a331619e","profile_hash":"ce30f4b5b92700d0","outcomes_hash":"f3c739af35001307","total":{"n_right":2.0,"n_wrong":4.0},"skills":{"plus":{"n_right":2.0,"n_wrong":4.0}},"mean_tokens":4.0,"mean_latency_ms":0.12185133315748924}');
INSERT INTO "card" VALUES(3,'eve','ce30f4b5b92700d0','{"expert_id":"eve","fingerprint":"aab8d28687986cb4","profile_hash":"ce30f4b5b92700d0","outcomes_hash":"d898f67479c23ae4","total":{"n_right":4.0,"n_wrong":2.0},"skills":{"plus":{"n_right":4.0,"n_wrong":2.0}},"mean_tokens":4.0,"mean_latency_ms":0.09695083372207591}');
INSERT INTO "card" VALUES(4,'ada','ce30f4b5b92700d0','{"expert_id":"ada","fingerprint":"672eecc65fec92c7","profile_hash":"ce30f4b5b92700d0","outcomes_hash":"9df5216b0ee1cdcd","total":{"n_right":5.0,"n_wrong":1.0},"skills":{"plus":{"n_right":5.0,"n_wrong":1.0}},"mean_tokens":4.0,"mean_latency_ms":0.20892166624738215}');
INSERT INTO "card" VALUES(5,'bob','ce30f4b5b92700d0','{"expert_id":"bob","fingerprint":"76e739b3a331619e","profile_hash":"ce30f4b5b92700d0","outcomes_hash":"f3c739af35001307","total":{"n_right":2.0,"n_wrong":4.0},"skills":{"plus":{"n_right":2.0,"n_wrong":4.0}},"mean_tokens":4.0,"mean_latency_ms":0.12185133315748924}');
INSERT INTO "card" VALUES(6,'eve','ce30f4b5b92700d0','{"expert_id":"eve","fingerprint":"aab8d28687986cb4","profile_hash":"ce30f4b5b92700d0","outcomes_hash":"d898f67479c23ae4","total":{"n_right":4.0,"n_wrong":2.0},"skills":{"plus":{"n_right":4.0,"n_wrong":2.0}},"mean_tokens":4.0,"mean_latency_ms":0.09695083372207591}');
CREATE TABLE device (
	owner TEXT NOT NULL, 
	device TEXT NOT NULL, 
	engine_id TEXT, 
	state TEXT NOT NULL, 
	host TEXT NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	since DOUBLE NOT NULL, config_hash TEXT, serves TEXT, code TEXT, why TEXT, heal TEXT, next_try_at DOUBLE, 
	CONSTRAINT pk_device PRIMARY KEY (owner)
);
INSERT INTO "device" VALUES('old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1','auto','ada','resident','vm',1.79585897178399848941e+09,1.79585897178399848941e+09,'5530fb6c63187e77','["ada", "bob", "eve"]',NULL,NULL,NULL,NULL);
CREATE TABLE engine_load (
	pk INTEGER NOT NULL, 
	engine_id TEXT NOT NULL, 
	device TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	at DOUBLE NOT NULL, left_at DOUBLE, 
	CONSTRAINT pk_engine_load PRIMARY KEY (pk)
);
INSERT INTO "engine_load" VALUES(1,'ada','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|31850|452029|1',0.00042358599966974,1.79585896292401838306e+09,1.79585896293101906781e+09);
INSERT INTO "engine_load" VALUES(2,'bob','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|31850|452029|1',4.94650003020069561898e-05,1.79585896293600797649e+09,1.79585896293999099735e+09);
INSERT INTO "engine_load" VALUES(3,'eve','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|31850|452029|1',4.20429996665916405618e-05,1.79585896294300842281e+09,1.79585896298300027847e+09);
INSERT INTO "engine_load" VALUES(4,'ada','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',4.63215999843669123947e-04,1.79585896979499316222e+09,1.79585896980698251721e+09);
INSERT INTO "engine_load" VALUES(5,'eve','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',5.19180002811481244862e-05,1795858969.81,1.79585896981901216502e+09);
INSERT INTO "engine_load" VALUES(6,'bob','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',4.05509999836795e-05,1.79585896982098364832e+09,1.79585896985498070718e+09);
INSERT INTO "engine_load" VALUES(7,'ada','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',0.00025558400011505,1.79585896985799813268e+09,1.79585897060299515726e+09);
INSERT INTO "engine_load" VALUES(8,'eve','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',8.09520006441744e-05,1.79585897060601258276e+09,1.79585897061401891707e+09);
INSERT INTO "engine_load" VALUES(9,'bob','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',4.32050001109018921852e-05,1.79585897061699628824e+09,1.7958589712420179844e+09);
INSERT INTO "engine_load" VALUES(10,'ada','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',1.0049590000562602654e-03,1.79585897124600124357e+09,1.79585897128398132328e+09);
INSERT INTO "engine_load" VALUES(11,'eve','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',6.18930007476592436432e-05,1.79585897129500508305e+09,1.79585897133700847626e+09);
INSERT INTO "engine_load" VALUES(12,'bob','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',6.17229998169932514429e-05,1.79585897134199738503e+09,1.79585897172698831557e+09);
INSERT INTO "engine_load" VALUES(13,'ada','auto','old-host|00000000-0000-0000-0000-000000000000/pid:[4026531836]|32027|452651|1',2.75643999884778168052e-04,1.79585897178299283985e+09,NULL);
CREATE TABLE engine_work (
	engine_id TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	stripe INTEGER NOT NULL, 
	n_waiting INTEGER NOT NULL, 
	waiting_tokens BIGINT NOT NULL, 
	n_leased INTEGER NOT NULL, 
	leased_tokens BIGINT NOT NULL, 
	CONSTRAINT pk_engine_work PRIMARY KEY (engine_id, priority, stripe)
);
INSERT INTO "engine_work" VALUES('ada',0,1,0,0,0,0);
INSERT INTO "engine_work" VALUES('bob',0,1,0,0,0,0);
INSERT INTO "engine_work" VALUES('eve',0,1,0,0,0,0);
INSERT INTO "engine_work" VALUES('ada',10,2,0,0,0,0);
INSERT INTO "engine_work" VALUES('eve',10,2,0,0,0,0);
INSERT INTO "engine_work" VALUES('bob',10,2,0,0,0,0);
INSERT INTO "engine_work" VALUES('ada',10,3,0,0,0,0);
INSERT INTO "engine_work" VALUES('ada',0,4,0,0,0,0);
INSERT INTO "engine_work" VALUES('eve',0,4,0,0,0,0);
INSERT INTO "engine_work" VALUES('bob',0,4,0,0,0,0);
INSERT INTO "engine_work" VALUES('ada',0,5,0,0,0,0);
INSERT INTO "engine_work" VALUES('eve',0,5,0,0,0,0);
INSERT INTO "engine_work" VALUES('bob',0,5,0,0,0,0);
INSERT INTO "engine_work" VALUES('ada',0,6,0,0,2,1080);
INSERT INTO "engine_work" VALUES('bob',0,6,0,0,0,0);
CREATE TABLE exchange (
	id TEXT NOT NULL, 
	job_id TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	CONSTRAINT pk_exchange PRIMARY KEY (id)
);
INSERT INTO "exchange" VALUES('resp_f6f8906db4e5410fa5f4f2b4ae5d8ff5','ask-f6f8906db4e5410fa5f4f2b4ae5d8ff5','{"id":"resp_f6f8906db4e5410fa5f4f2b4ae5d8ff5","job_id":"ask-f6f8906db4e5410fa5f4f2b4ae5d8ff5","owner":"key-d547e413abcd45ed","created_at":1795858969,"composition":"expert:ada","items":[{"id":"msg_f6f8906db4e5410fa5f4f2b4ae5d8ff5_0","type":"message","role":"user","status":"completed","content":[{"type":"input_text","text":"What is 2 plus 2?"}]}],"request":{"model":"ada"}}');
CREATE TABLE expert_pause (
	expert_id TEXT NOT NULL, 
	since DOUBLE NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_expert_pause PRIMARY KEY (expert_id)
);
INSERT INTO "expert_pause" VALUES('eve',1.79585897164901638033e+09,'on leave');
CREATE TABLE feedback (
	job_id TEXT NOT NULL, 
	query_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	CONSTRAINT pk_feedback PRIMARY KEY (job_id, query_id, "key")
);
INSERT INTO "feedback" VALUES('job-fe4e5a06a6644434bbdf0a527920f84c','k0','','{"job_id":"job-fe4e5a06a6644434bbdf0a527920f84c","query_id":"k0","score":1.0,"day":20785,"experts":{"ada":{"n_right":1.0},"eve":{"n_wrong":1.0},"bob":{"n_right":1.0}}}');
CREATE TABLE feedback_count (
	fingerprint TEXT NOT NULL, 
	skill TEXT NOT NULL, 
	day INTEGER NOT NULL, 
	n_right DOUBLE NOT NULL, 
	n_wrong DOUBLE NOT NULL, 
	n_abstain DOUBLE NOT NULL, 
	CONSTRAINT pk_feedback_count PRIMARY KEY (fingerprint, skill, day)
);
INSERT INTO "feedback_count" VALUES('672eecc65fec92c7','',20785,1.0,0.0,0.0);
INSERT INTO "feedback_count" VALUES('672eecc65fec92c7','plus',20785,1.0,0.0,0.0);
INSERT INTO "feedback_count" VALUES('76e739b3a331619e','',20785,1.0,0.0,0.0);
INSERT INTO "feedback_count" VALUES('76e739b3a331619e','plus',20785,1.0,0.0,0.0);
INSERT INTO "feedback_count" VALUES('aab8d28687986cb4','',20785,0.0,1.0,0.0);
INSERT INTO "feedback_count" VALUES('aab8d28687986cb4','plus',20785,0.0,1.0,0.0);
CREATE TABLE file (
	pk INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	purpose TEXT NOT NULL, 
	filename TEXT NOT NULL, 
	n_bytes BIGINT NOT NULL, 
	is_whole BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	CONSTRAINT pk_file PRIMARY KEY (pk), 
	CONSTRAINT uq_file_id UNIQUE (id)
);
INSERT INTO "file" VALUES(1,'file-c2a1ceb7b7b0427e880c6c27c9627136','key-84f3fc0d83314c85','batch','requests.jsonl',161,1,1.79585897005501985554e+09,1.79845097005322456362e+09);
INSERT INTO "file" VALUES(2,'file-820ab041fe49db0abe0d044d72dab05b','key-84f3fc0d83314c85','batch_output','batch_3c7b10190728461998f333a6ed99ebeb_output.jsonl',2700,1,1.79585897109098291402e+09,1.79845097109079623222e+09);
CREATE TABLE file_chunk (
	file_pk INTEGER NOT NULL, 
	ix INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	CONSTRAINT pk_file_chunk PRIMARY KEY (file_pk, ix)
);
INSERT INTO "file_chunk" VALUES(1,0,X'7801258C410A02310C45F79EA2642D145DBAF1080A0A2E44A4B6C129B4CD30490529BDBBCDB8FAF0DEE735F09585F233063818A082B0359051265AC1F974B92AA94B526F3F3BEB2727D6539E134AA4C2AA5F14BEC337C814707DBA2AF44F31BB37F2B0F7060B25D44E655CD47A2A824514DD46D644367B33A73AE608FDD1FBE607CA5031E6');
INSERT INTO "file_chunk" VALUES(2,0,X'78019D56DB8EE3360C7DEF57187E6E03DD25B7E85FF46D5118B2AC24DE71ACAC24CF05C1FC7B49D9E3249DCB167D091C4AA20E790E495DEAA1AF7FAFEACE66776CA3FFD10A2538D14E33C3F74EF75DFD6B55BB39E5706A97AD61F2688B3E9DC3943C9CBED429DB3CA7D6851EFF3342CA861FB34F793DF599EB2EF42FC5C5E2DC1D01C8E93CFEF6118CD07DF72E235CDCB6730136FA3C84A9608CDE668FC150DD48234DA311C509208D78C4CE39947DC730389FC0F4ED520F53EF9FE1B3ECF429D9C3124F0C237ED436A501629B723919A6ECE113EC7F1D7D65A7F4E46335A44AEC9684ECE764F1AE691E47B83A8730B6CE8E235E86B65730EE87694898699B0037B882CC9EF1F8180EE718BA6DEFDF60037F2B20583A9D739BC3839F700B95B07C4DC0CD0283851CB21DAF36A6C176E7A1ED7DB6430176A99D7547DF5FB713C4F9CEF7DD9105FE301D6E4FE1B1F492B23FB510E5C1C7731C9674EDCFAD5742764C3AA11BB6275661C8C9C747E0A2CD838FD7B49D406CE5FFA5FE1EBA553E8B3EB9D31D25B421A04EA168D3983DE7DC2ADF378DEFFCA2554854484391C50DEDD1BB380FB9F05EDBDEE2FDFEB128B90B5D8DD95E82C21D973A867901518333F81A425C38BE7AB9D4FEF9EC63D1C3EAF0C90F87231AC88E2BA5A86988519A502A89C0785D88282BB2D30DE760B0CECDD13A2C80CDE61F87DE4F0EF78140D3C33016F9027DFB61F455A929907CAAC6E1C157F908FA5B2B72BB9DEE50CFEF6E43B9891D47317C74F1189E0A0E49A8A6DC702505A3DAC0EE234455961A0DD130C2156544512981F15B88E39C30491B0EB26BF0B21B208632142E225105E43D9075794302F751D6084023A43198B12B14C61BA315A3461229857E4506A790316F6BADDD12B4527D038D19A908F0D2302E09D1E41E297007FEEED02DA6CFE8F969EC4A10F555F0DBFA5BF4821BA3A4D1B4519273A9D46DF806A881C4304E1AA62493B7E143D77AF07D35F9E70C8DA20A7BF87984CCA4CA1EA287165968BB8A17F50FBE6F72C385D65A11C148238CD60DAC5E4914EC9D7417D3FF4E0D970DD75FE8625B7F4B0DC89211488D824E0058B1B6366148452987CC18C28552827D9D19F6AFCC2C7D001BD33222F07FA9C1D2382EF5644F65309C3FE29BD2A6DC16E769F2B19DCFAB1631B9611EFB16C616F4C5AB15F5BA74A4873F55157D3F3B202E07286B5FF16AA108EA7B5F0C679827A551391BFBF6D1C784A30F7A9CE999128652D273DD792791CD8444435B01AEEB423EFC817E72657D6D598F769C4B44E24E03D02740AFA02CA5A916AC08D776300A870946055C62E732FA3F2FB5CD7181B3898BEF84568610CA98209296B2FB8F8E579D6E8EEF11B39D3200171A82829AA0AA41417DEA1979BD77E4C2B4DF3A2FD929A9A0C0A0BCA4619253EC0EBD3F44DB97B4EEED983C98AE04628EAB25CA5481B91ABD8D13142050F902B588BC02A96FAFA6842CDBEAADAB03C392DCF4F610AB13CC8A3F568F70B87BA9DEBA51354C30926C5FB4600F50D3079B613E8112CAA58010432FCF13240BC7CBDBC89BB607091671795FC086767DEFDCE8E372FF6000175F3F391C8CC9764E45733BF28AB21B0E13C480966F986E781D2D7A2D9A293B7C8C0577B1FCF20F8EE42207');
CREATE TABLE job (
	pk INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	content_hash TEXT NOT NULL, 
	state TEXT NOT NULL, 
	n_total INTEGER NOT NULL, 
	n_completed INTEGER NOT NULL, 
	n_failed INTEGER NOT NULL, 
	n_assignments INTEGER NOT NULL, 
	n_responses INTEGER NOT NULL, 
	n_regenerated INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	finished_at DOUBLE, deadline_at DOUBLE, kind TEXT DEFAULT 'batch' NOT NULL, n_retries INTEGER DEFAULT '0' NOT NULL, owner TEXT DEFAULT '' NOT NULL, session TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_job PRIMARY KEY (pk), 
	CONSTRAINT uq_job_id UNIQUE (id)
);
INSERT INTO "job" VALUES(1,'profile-e810c5946b598650','{"composition":"roll_call","experts":["ada","bob","eve"],"id":"profile-e810c5946b598650","kind":"profile","config_hash":"e645b25c4792f0a6","label":"roll_call: 6 questions, 3 experts"}','bf5f285eda016169180e4a098d16b91e95e0b4378098e922aeb6574397622e34','done',6,6,0,18,18,0,1.79585896282999372486e+09,1.79585896294799757006e+09,NULL,'profile',0,'','');
INSERT INTO "job" VALUES(2,'ask-3133a4c1f06e42f589cd8b5574d74874','{"composition":"auto","session":"one","id":"ask-3133a4c1f06e42f589cd8b5574d74874","kind":"ask","priority":10,"config_hash":"5530fb6c63187e77","owner":"key-d547e413abcd45ed"}','59cc71b96d8c9b30f4fc6df6c4141b3b04ffd08ee9b1ca129503aba7f8339445','done',1,1,0,3,3,0,1.79585896951098728177e+09,1.79585896982798433308e+09,NULL,'ask',0,'key-d547e413abcd45ed','one');
INSERT INTO "job" VALUES(3,'ask-f6f8906db4e5410fa5f4f2b4ae5d8ff5','{"composition":"expert:ada","session":"resp_f6f8906db4e5410fa5f4f2b4ae5d8ff5","id":"ask-f6f8906db4e5410fa5f4f2b4ae5d8ff5","kind":"ask","priority":10,"config_hash":"5530fb6c63187e77","owner":"key-d547e413abcd45ed"}','cc5a11f58a0c6f6847056f7571fb9edb1aa59270edc2566e996e1dad0e9012ac','done',1,1,0,1,1,0,1.79585896984399700157e+09,1.79585896986298704149e+09,NULL,'ask',0,'key-d547e413abcd45ed','resp_f6f8906db4e5410fa5f4f2b4ae5d8ff5');
INSERT INTO "job" VALUES(4,'batch_3c7b10190728461998f333a6ed99ebeb','{"composition":"auto","id":"batch_3c7b10190728461998f333a6ed99ebeb","config_hash":"5530fb6c63187e77","label":"requests.jsonl","deadline_s":86399.44415569305,"owner":"key-84f3fc0d83314c85","knowledge":"6a88b64d3435dfe5"}','86be3831b0f6e7d036d3ec1dbe4229bbff3c6136d53141bee4a42994a247cfba','done',1,1,0,3,3,0,1.79585897055700874323e+09,1.79585897062500262255e+09,1.7959453700011644363e+09,'batch',0,'key-84f3fc0d83314c85','');
INSERT INTO "job" VALUES(5,'job-fe4e5a06a6644434bbdf0a527920f84c','{"composition":"auto","id":"job-fe4e5a06a6644434bbdf0a527920f84c","config_hash":"5530fb6c63187e77","fingerprint":"3ba5065075fbc765","owner":"key-84f3fc0d83314c85","knowledge":"6a88b64d3435dfe5"}','f4990e3f5dea9ef1e993c8ead742aa0c100584bee4d1b97acc52cc9eb58d0e6f','done',6,6,0,15,15,0,1.79585897120198607446e+09,1.79585897134698629375e+09,NULL,'batch',0,'key-84f3fc0d83314c85','');
INSERT INTO "job" VALUES(6,'job-cf7dd1912183449bb5b81905a8ba4820','{"composition":"auto","id":"job-cf7dd1912183449bb5b81905a8ba4820","compositions":["expert:ada","expert:bob"],"config_hash":"5530fb6c63187e77","fingerprint":"70f4c3f5eafea87f","owner":"key-84f3fc0d83314c85","knowledge":"6a88b64d3435dfe5"}','9f53d4a152b7f630cac6c679cb8208f93abdf753b6d1dce7eb30bfce1e4b9071','running',4,2,0,4,2,0,1.79585897166201162336e+09,NULL,NULL,'batch',0,'key-84f3fc0d83314c85','');
CREATE TABLE job_engine (
	job_pk INTEGER NOT NULL, 
	engine_id TEXT NOT NULL, 
	CONSTRAINT pk_job_engine PRIMARY KEY (job_pk, engine_id), 
	CONSTRAINT fk_job_engine_job_pk_job FOREIGN KEY(job_pk) REFERENCES job (pk)
);
INSERT INTO "job_engine" VALUES(1,'ada');
INSERT INTO "job_engine" VALUES(1,'bob');
INSERT INTO "job_engine" VALUES(1,'eve');
INSERT INTO "job_engine" VALUES(2,'ada');
INSERT INTO "job_engine" VALUES(2,'eve');
INSERT INTO "job_engine" VALUES(2,'bob');
INSERT INTO "job_engine" VALUES(3,'ada');
INSERT INTO "job_engine" VALUES(4,'ada');
INSERT INTO "job_engine" VALUES(4,'eve');
INSERT INTO "job_engine" VALUES(4,'bob');
INSERT INTO "job_engine" VALUES(5,'ada');
INSERT INTO "job_engine" VALUES(5,'eve');
INSERT INTO "job_engine" VALUES(5,'bob');
INSERT INTO "job_engine" VALUES(6,'ada');
INSERT INTO "job_engine" VALUES(6,'bob');
CREATE TABLE key_spending (
	key_id TEXT NOT NULL, 
	period TEXT NOT NULL, 
	used_tokens BIGINT NOT NULL, 
	used_usd DOUBLE NOT NULL, 
	used_engine_s DOUBLE NOT NULL, 
	held_tokens BIGINT NOT NULL, 
	held_usd DOUBLE NOT NULL, 
	held_engine_s DOUBLE NOT NULL, 
	CONSTRAINT pk_key_spending PRIMARY KEY (key_id, period)
);
INSERT INTO "key_spending" VALUES('key-d547e413abcd45ed','2026-11',90,0.0,1.13835380403348493502e-05,0,0.0,0.0);
CREATE TABLE keyed_request (
	pk INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	path TEXT NOT NULL, 
	key_hash TEXT NOT NULL, 
	unique_id TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	reply TEXT, 
	CONSTRAINT pk_keyed_request PRIMARY KEY (pk), 
	CONSTRAINT uq_keyed_request_owner_path_key_hash UNIQUE (owner, path, key_hash)
);
INSERT INTO "keyed_request" VALUES(1,'key-d547e413abcd45ed','/v1/chat/completions','a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e','3133a4c1f06e42f589cd8b5574d74874','cef8730a3a438156c15c55ef1d8281580b934518819beb102ac34d27eac2f50c',1.79585896950599861144e+09,'{"status":200,"headers":{"x-muster-experts":"ada,eve,bob","content-type":"application/json","x-muster-decision-id":"ask-3133a4c1f06e42f589cd8b5574d74874"},"body":"{\"id\":\"chatcmpl-3133a4c1f06e42f589cd8b5574d74874\",\"object\":\"chat.completion\",\"created\":1795858969,\"model\":\"auto\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The answer is 4.\",\"refusal\":null,\"tool_calls\":null},\"finish_reason\":\"stop\",\"logprobs\":null}],\"usage\":{\"prompt_tokens\":69,\"completion_tokens\":12,\"total_tokens\":81,\"prompt_tokens_details\":{\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}},\"system_fingerprint\":\"fp_e645b25c4792f0a6\",\"service_tier\":null,\"muster\":{\"job_id\":\"ask-3133a4c1f06e42f589cd8b5574d74874\",\"composition\":\"auto\",\"recruits\":[\"ada\",\"eve\",\"bob\"],\"reasons\":{\"router\":\"posterior\",\"recruits\":[{\"expert\":\"ada\",\"weight\":0.36661890867011504,\"score\":0.7933,\"accuracy\":0.7933,\"evidence\":[{\"skill\":\"profile questions like this one\",\"weight\":1.0,\"score\":0.7933,\"n\":4.37,\"accuracy\":0.7933,\"low\":0.501713836542178,\"high\":0.9767020361206155},{\"skill\":\"plus\",\"weight\":0.97,\"score\":0.78125,\"n\":6.0,\"accuracy\":0.78125,\"low\":0.5976129413845883,\"high\":0.9239876218505547}],\"note\":null},{\"expert\":\"eve\",\"weight\":0.28560504923500707,\"score\":0.618,\"accuracy\":0.618,\"evidence\":[{\"skill\":\"plus\",\"weight\":0.97,\"score\":0.640625,\"n\":6.0,\"accuracy\":0.640625,\"low\":0.43886587196533566,\"high\":0.8217941230926525}],\"note\":\"asked next: 1 of 1 votes agreed\"},{\"expert\":\"bob\",\"weight\":0.3477760420948779,\"score\":0.423,\"accuracy\":0.423,\"evidence\":[{\"skill\":\"plus\",\"weight\":0.97,\"score\":0.359375,\"n\":6.0,\"accuracy\":0.359375,\"low\":0.1782058769073474,\"high\":0.5611341280346642}],\"note\":\"asked next: 1 of 2 votes agreed\"}],\"reserves\":[],\"skills\":[{\"name\":\"plus\",\"weight\":0.97119}],\"runner_up\":null,\"would_change\":null,\"notes\":[\"k=6 reduced to the 3 experts of the pool\"],\"card_version\":\"8d2648110d37bec5\",\"seed\":0},\"votes\":[{\"expert\":\"ada\",\"value\":\"4\",\"weight\":4.340665267174225,\"abstained_because\":null},{\"expert\":\"eve\",\"value\":\"5\",\"weight\":3.476800122405107,\"abstained_because\":null},{\"expert\":\"bob\",\"value\":\"4\",\"weight\":2.6852621860921695,\"abstained_because\":null}],\"value\":\"4\",\"confidence\":0.6567943095825317,\"degraded\":false,\"notes\":[\"vote weights not learnt: they need the responses to a profile of 50 questions or more; weighted by accuracy instead\"],\"aggregator\":\"learned\",\"answered_by\":\"ada\",\"n_calls\":3,\"usage_by_role\":{\"expert\":{\"prompt_tokens\":69,\"completion_tokens\":12,\"cost_usd\":0.0}},\"ignored\":[],\"fusion\":null}}"}');
CREATE TABLE merge_job (
	id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	owner TEXT, 
	payload TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	CONSTRAINT pk_merge_job PRIMARY KEY (id)
);
CREATE TABLE merged_expert (
	expert_id TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_merged_expert PRIMARY KEY (expert_id)
);
CREATE TABLE metric_sum (
	name TEXT NOT NULL, 
	labels TEXT NOT NULL, 
	part TEXT NOT NULL, 
	value DOUBLE NOT NULL, 
	CONSTRAINT pk_metric_sum PRIMARY KEY (name, labels, part)
);
INSERT INTO "metric_sum" VALUES('muster_group_size','[]','8',3.0);
INSERT INTO "metric_sum" VALUES('muster_group_size','[]','sum',18.0);
INSERT INTO "metric_sum" VALUES('muster_model_load_seconds','["ada"]','0.1',1.0);
INSERT INTO "metric_sum" VALUES('muster_model_load_seconds','["ada"]','sum',0.00042358599966974);
INSERT INTO "metric_sum" VALUES('muster_model_load_seconds','["bob"]','0.1',1.0);
INSERT INTO "metric_sum" VALUES('muster_model_load_seconds','["bob"]','sum',4.94650003020069561898e-05);
INSERT INTO "metric_sum" VALUES('muster_model_load_seconds','["eve"]','0.1',1.0);
INSERT INTO "metric_sum" VALUES('muster_model_load_seconds','["eve"]','sum',4.20429996665916405618e-05);
INSERT INTO "metric_sum" VALUES('muster_model_loads_total','["ada", "cold"]','value',1.0);
INSERT INTO "metric_sum" VALUES('muster_model_loads_total','["bob", "cold"]','value',1.0);
INSERT INTO "metric_sum" VALUES('muster_model_loads_total','["eve", "cold"]','value',1.0);
INSERT INTO "metric_sum" VALUES('muster_stage_duration_seconds','["experts"]','0.001',18.0);
INSERT INTO "metric_sum" VALUES('muster_stage_duration_seconds','["experts"]','sum',2.56634299876168370246e-03);
CREATE TABLE outbox (
	pk INTEGER NOT NULL, 
	job_pk INTEGER NOT NULL, 
	CONSTRAINT pk_outbox PRIMARY KEY (pk), 
	CONSTRAINT fk_outbox_job_pk_job FOREIGN KEY(job_pk) REFERENCES job (pk)
);
INSERT INTO "outbox" VALUES(1,6);
CREATE TABLE outcome (
	fingerprint TEXT NOT NULL, 
	query_hash TEXT NOT NULL, 
	outcome INTEGER NOT NULL, 
	payload TEXT NOT NULL, 
	CONSTRAINT pk_outcome PRIMARY KEY (fingerprint, query_hash)
);
INSERT INTO "outcome" VALUES('672eecc65fec92c7','11ca5bbd14dd4a07',1,'["672eecc65fec92c7","11ca5bbd14dd4a07",1,"4","The answer is 4.",4,0.2009309991990449]');
INSERT INTO "outcome" VALUES('76e739b3a331619e','11ca5bbd14dd4a07',1,'["76e739b3a331619e","11ca5bbd14dd4a07",1,"4","The answer is 4.",4,0.11325000014039688]');
INSERT INTO "outcome" VALUES('aab8d28687986cb4','11ca5bbd14dd4a07',0,'["aab8d28687986cb4","11ca5bbd14dd4a07",0,"5","The answer is 5.",4,0.09594400034984574]');
INSERT INTO "outcome" VALUES('672eecc65fec92c7','c77b35ddbd0a404e',1,'["672eecc65fec92c7","c77b35ddbd0a404e",1,"4","The answer is 4.",4,0.23924899960547918]');
INSERT INTO "outcome" VALUES('76e739b3a331619e','c77b35ddbd0a404e',1,'["76e739b3a331619e","c77b35ddbd0a404e",1,"4","The answer is 4.",4,0.1521989997854689]');
INSERT INTO "outcome" VALUES('aab8d28687986cb4','c77b35ddbd0a404e',0,'["aab8d28687986cb4","c77b35ddbd0a404e",0,"5","The answer is 5.",4,0.11827800062746974]');
INSERT INTO "outcome" VALUES('672eecc65fec92c7','bcbb35dac655bb10',1,'["672eecc65fec92c7","bcbb35dac655bb10",1,"5","The answer is 5.",4,0.14152199946693145]');
INSERT INTO "outcome" VALUES('76e739b3a331619e','bcbb35dac655bb10',0,'["76e739b3a331619e","bcbb35dac655bb10",0,"4","The answer is 4.",4,0.07396099954348756]');
INSERT INTO "outcome" VALUES('aab8d28687986cb4','bcbb35dac655bb10',1,'["aab8d28687986cb4","bcbb35dac655bb10",1,"5","The answer is 5.",4,0.06364599994412856]');
INSERT INTO "outcome" VALUES('672eecc65fec92c7','35e4ecb0bbf0dc7b',1,'["672eecc65fec92c7","35e4ecb0bbf0dc7b",1,"5","The answer is 5.",4,0.11386099959054263]');
INSERT INTO "outcome" VALUES('76e739b3a331619e','35e4ecb0bbf0dc7b',0,'["76e739b3a331619e","35e4ecb0bbf0dc7b",0,"4","The answer is 4.",4,0.05812699964735657]');
INSERT INTO "outcome" VALUES('aab8d28687986cb4','35e4ecb0bbf0dc7b',1,'["aab8d28687986cb4","35e4ecb0bbf0dc7b",1,"5","The answer is 5.",4,0.04990500019630417]');
INSERT INTO "outcome" VALUES('672eecc65fec92c7','03e4f93fbb9c8be3',0,'["672eecc65fec92c7","03e4f93fbb9c8be3",0,"4","The answer is 4.",4,0.17209799989359453]');
INSERT INTO "outcome" VALUES('76e739b3a331619e','03e4f93fbb9c8be3',0,'["76e739b3a331619e","03e4f93fbb9c8be3",0,"4","The answer is 4.",4,0.09200800013786647]');
INSERT INTO "outcome" VALUES('aab8d28687986cb4','03e4f93fbb9c8be3',1,'["aab8d28687986cb4","03e4f93fbb9c8be3",1,"5","The answer is 5.",4,0.07861800077080261]');
INSERT INTO "outcome" VALUES('672eecc65fec92c7','88345a72cb7de903',1,'["672eecc65fec92c7","88345a72cb7de903",1,"5","The answer is 5.",4,0.38586899972870015]');
INSERT INTO "outcome" VALUES('76e739b3a331619e','88345a72cb7de903',0,'["76e739b3a331619e","88345a72cb7de903",0,"4","The answer is 4.",4,0.241562999690359]');
INSERT INTO "outcome" VALUES('aab8d28687986cb4','88345a72cb7de903',1,'["aab8d28687986cb4","88345a72cb7de903",1,"5","The answer is 5.",4,0.17531400044390466]');
CREATE TABLE profile_run (
	id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	CONSTRAINT pk_profile_run PRIMARY KEY (id)
);
INSERT INTO "profile_run" VALUES('profile-run-996ed691f9304711a773b5f91ef5a4d4','completed','{"id":"profile-run-996ed691f9304711a773b5f91ef5a4d4","state":"completed","n_questions":6,"n_reused":18,"n_experts":3,"created_at":1795858971.4783578,"finished_at":1795858971.524647}',1.79585897147835779185e+09,1.79585897147999715801e+09);
CREATE TABLE profile_set (
	pk INTEGER NOT NULL, 
	profile_hash TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	CONSTRAINT pk_profile_set PRIMARY KEY (pk), 
	CONSTRAINT uq_profile_set_profile_hash UNIQUE (profile_hash)
);
INSERT INTO "profile_set" VALUES(1,'ce30f4b5b92700d0','[[{"id":"k0","question":"What is 2 plus 2?","options":[],"answer":"4","answer_type":"number","domain":null,"skills":[],"context":[],"after":[],"candidates":[],"terms":null,"endpoint":""},[{"name":"plus","weight":0.97119}]],[{"id":"k1","question":"What is 2 plus 2.0?","options":[],"answer":"4.0","answer_type":"number","domain":null,"skills":[],"context":[],"after":[],"candidates":[],"terms":null,"endpoint":""},[{"name":"plus","weight":0.9505}]],[{"id":"k2","question":"What is 3 plus 2?","options":[],"answer":"5","answer_type":"number","domain":null,"skills":[],"context":[],"after":[],"candidates":[],"terms":null,"endpoint":""},[{"name":"plus","weight":0.97235}]],[{"id":"k3","question":"What is 4 plus 1?","options":[],"answer":"5","answer_type":"number","domain":null,"skills":[],"context":[],"after":[],"candidates":[],"terms":null,"endpoint":""},[{"name":"plus","weight":0.74356}]],[{"id":"k4","question":"What is 2 plus 3?","options":[],"answer":"5","answer_type":"number","domain":null,"skills":[],"context":[],"after":[],"candidates":[],"terms":null,"endpoint":""},[{"name":"plus","weight":0.97235}]],[{"id":"k5","question":"What is 1 plus 4?","options":[],"answer":"5","answer_type":"number","domain":null,"skills":[],"context":[],"after":[],"candidates":[],"terms":null,"endpoint":""},[{"name":"plus","weight":0.74356}]]]');
CREATE TABLE "prompt" (
	query_pk INTEGER NOT NULL, 
	stage INTEGER NOT NULL, 
	ix INTEGER NOT NULL, 
	messages TEXT NOT NULL, 
	decision TEXT, 
	CONSTRAINT pk_prompt PRIMARY KEY (query_pk, stage, ix)
);
INSERT INTO "prompt" VALUES(1,0,0,'[{"role":"user","content":"What is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]',NULL);
INSERT INTO "prompt" VALUES(2,0,0,'[{"role":"user","content":"What is 2 plus 2.0?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]',NULL);
INSERT INTO "prompt" VALUES(3,0,0,'[{"role":"user","content":"What is 3 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]',NULL);
INSERT INTO "prompt" VALUES(4,0,0,'[{"role":"user","content":"What is 4 plus 1?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]',NULL);
INSERT INTO "prompt" VALUES(5,0,0,'[{"role":"user","content":"What is 2 plus 3?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]',NULL);
INSERT INTO "prompt" VALUES(6,0,0,'[{"role":"user","content":"What is 1 plus 4?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]',NULL);
INSERT INTO "prompt" VALUES(7,0,0,'[{"role":"user","content":"What is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":1.0,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]}],"reserves":[{"expert_id":"eve","weight":0.779024328753309,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}]},{"expert_id":"bob","weight":0.5332156813311484,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(7,1,0,'[{"role":"user","content":"What is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.5621058598455325,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.43789414015446754,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"}],"reserves":[{"expert_id":"bob","weight":0.5332156813311484,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(7,2,0,'[{"role":"user","content":"What is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.36661890867011504,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.28560504923500707,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"},{"expert_id":"bob","weight":0.3477760420948779,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}],"note":"asked next: 1 of 2 votes agreed"}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(8,0,0,'[{"role":"user","content":"What is 2 plus 2?","tool_calls":[],"tool_call_id":null}]','{"router":"all","recruits":[{"expert_id":"ada","weight":1.0,"score":0.75,"accuracy":0.75}],"card_version":"8d2648110d37bec5","notes":["no known skill: global prior used"]}');
INSERT INTO "prompt" VALUES(9,0,0,'[{"role":"user","content":"What is 2 plus 2?","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":1.0,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]}],"reserves":[{"expert_id":"eve","weight":0.779024328753309,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}]},{"expert_id":"bob","weight":0.5332156813311484,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(9,1,0,'[{"role":"user","content":"What is 2 plus 2?","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.5621058598455325,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.43789414015446754,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"}],"reserves":[{"expert_id":"bob","weight":0.5332156813311484,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(9,2,0,'[{"role":"user","content":"What is 2 plus 2?","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.36661890867011504,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.28560504923500707,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"},{"expert_id":"bob","weight":0.3477760420948779,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}],"note":"asked next: 1 of 2 votes agreed"}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(10,0,0,'[{"role":"user","content":"What is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":1.0,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]}],"reserves":[{"expert_id":"eve","weight":0.779024328753309,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}]},{"expert_id":"bob","weight":0.5332156813311484,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(11,0,0,'[{"role":"user","content":"What is 2 plus 2.0?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":1.0,"score":0.8015,"accuracy":0.8015,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.8015,"n":4.15,"accuracy":0.8015,"interval":[0.5075489335103085,0.9806973149486631]},{"skill":"plus","weight":0.95,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]}],"reserves":[{"expert_id":"eve","weight":0.7693075483468497,"score":0.6166,"accuracy":0.6166,"evidence":[{"skill":"plus","weight":0.95,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}]},{"expert_id":"bob","weight":0.5444791016843419,"score":0.4364,"accuracy":0.4364,"evidence":[{"skill":"plus","weight":0.95,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.9505}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(12,0,0,'[{"role":"user","content":"What is 3 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":1.0,"score":0.7381,"accuracy":0.7381,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7381,"n":4.59,"accuracy":0.7381,"interval":[0.437110261449928,0.952888458195767]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]}],"reserves":[{"expert_id":"eve","weight":0.8481235604931582,"score":0.626,"accuracy":0.626,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}]},{"expert_id":"bob","weight":0.45779704647066793,"score":0.3379,"accuracy":0.3379,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97235}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(13,0,0,'[{"role":"user","content":"What is 4 plus 1?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":1.0,"score":0.819,"accuracy":0.819,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.819,"n":3.99,"accuracy":0.819,"interval":[0.5280900587753066,0.9864513633282593]},{"skill":"plus","weight":0.74,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]}],"reserves":[{"expert_id":"eve","weight":0.8682539682539683,"score":0.7111,"accuracy":0.7111,"evidence":[{"skill":"plus","weight":0.74,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}]},{"expert_id":"bob","weight":0.4367521367521368,"score":0.3577,"accuracy":0.3577,"evidence":[{"skill":"plus","weight":0.74,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.74356}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(14,0,0,'[{"role":"user","content":"What is 2 plus 3?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":1.0,"score":0.7381,"accuracy":0.7381,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7381,"n":4.59,"accuracy":0.7381,"interval":[0.437110261449928,0.952888458195767]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]}],"reserves":[{"expert_id":"eve","weight":0.8481235604931582,"score":0.626,"accuracy":0.626,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}]},{"expert_id":"bob","weight":0.45779704647066793,"score":0.3379,"accuracy":0.3379,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97235}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(15,0,0,'[{"role":"user","content":"What is 1 plus 4?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":1.0,"score":0.819,"accuracy":0.819,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.819,"n":3.99,"accuracy":0.819,"interval":[0.5280900587753066,0.9864513633282593]},{"skill":"plus","weight":0.74,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]}],"reserves":[{"expert_id":"eve","weight":0.8682539682539683,"score":0.7111,"accuracy":0.7111,"evidence":[{"skill":"plus","weight":0.74,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}]},{"expert_id":"bob","weight":0.4367521367521368,"score":0.3577,"accuracy":0.3577,"evidence":[{"skill":"plus","weight":0.74,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.74356}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(10,1,0,'[{"role":"user","content":"What is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.5621058598455325,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.43789414015446754,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"}],"reserves":[{"expert_id":"bob","weight":0.5332156813311484,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(11,1,0,'[{"role":"user","content":"What is 2 plus 2.0?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.565192863690854,"score":0.8015,"accuracy":0.8015,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.8015,"n":4.15,"accuracy":0.8015,"interval":[0.5075489335103085,0.9806973149486631]},{"skill":"plus","weight":0.95,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.434807136309146,"score":0.6166,"accuracy":0.6166,"evidence":[{"skill":"plus","weight":0.95,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"}],"reserves":[{"expert_id":"bob","weight":0.5444791016843419,"score":0.4364,"accuracy":0.4364,"evidence":[{"skill":"plus","weight":0.95,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.9505}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(12,1,0,'[{"role":"user","content":"What is 3 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.5410893629499303,"score":0.7381,"accuracy":0.7381,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7381,"n":4.59,"accuracy":0.7381,"interval":[0.437110261449928,0.952888458195767]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.4589106370500696,"score":0.626,"accuracy":0.626,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"}],"reserves":[{"expert_id":"bob","weight":0.45779704647066793,"score":0.3379,"accuracy":0.3379,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97235}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(13,1,0,'[{"role":"user","content":"What is 4 plus 1?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.5352591333899746,"score":0.819,"accuracy":0.819,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.819,"n":3.99,"accuracy":0.819,"interval":[0.5280900587753066,0.9864513633282593]},{"skill":"plus","weight":0.74,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.4647408666100255,"score":0.7111,"accuracy":0.7111,"evidence":[{"skill":"plus","weight":0.74,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"}],"reserves":[{"expert_id":"bob","weight":0.4367521367521368,"score":0.3577,"accuracy":0.3577,"evidence":[{"skill":"plus","weight":0.74,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.74356}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(14,1,0,'[{"role":"user","content":"What is 2 plus 3?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.5410893629499303,"score":0.7381,"accuracy":0.7381,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7381,"n":4.59,"accuracy":0.7381,"interval":[0.437110261449928,0.952888458195767]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.4589106370500696,"score":0.626,"accuracy":0.626,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"}],"reserves":[{"expert_id":"bob","weight":0.45779704647066793,"score":0.3379,"accuracy":0.3379,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.97235}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(15,1,0,'[{"role":"user","content":"What is 1 plus 4?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.5352591333899746,"score":0.819,"accuracy":0.819,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.819,"n":3.99,"accuracy":0.819,"interval":[0.5280900587753066,0.9864513633282593]},{"skill":"plus","weight":0.74,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.4647408666100255,"score":0.7111,"accuracy":0.7111,"evidence":[{"skill":"plus","weight":0.74,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"}],"reserves":[{"expert_id":"bob","weight":0.4367521367521368,"score":0.3577,"accuracy":0.3577,"evidence":[{"skill":"plus","weight":0.74,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}]}],"skills":[{"name":"plus","weight":0.74356}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(10,2,0,'[{"role":"user","content":"What is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.36661890867011504,"score":0.7933,"accuracy":0.7933,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7933,"n":4.37,"accuracy":0.7933,"interval":[0.501713836542178,0.9767020361206155]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.28560504923500707,"score":0.618,"accuracy":0.618,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"},{"expert_id":"bob","weight":0.3477760420948779,"score":0.423,"accuracy":0.423,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}],"note":"asked next: 1 of 2 votes agreed"}],"skills":[{"name":"plus","weight":0.97119}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(11,2,0,'[{"role":"user","content":"What is 2 plus 2.0?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.36594400213928385,"score":0.8015,"accuracy":0.8015,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.8015,"n":4.15,"accuracy":0.8015,"interval":[0.5075489335103085,0.9806973149486631]},{"skill":"plus","weight":0.95,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.28152348311800673,"score":0.6166,"accuracy":0.6166,"evidence":[{"skill":"plus","weight":0.95,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"},{"expert_id":"bob","weight":0.35253251474270947,"score":0.4364,"accuracy":0.4364,"evidence":[{"skill":"plus","weight":0.95,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}],"note":"asked next: 1 of 2 votes agreed"}],"skills":[{"name":"plus","weight":0.9505}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(14,2,0,'[{"role":"user","content":"What is 2 plus 3?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"posterior","recruits":[{"expert_id":"ada","weight":0.3711691996220665,"score":0.7381,"accuracy":0.7381,"evidence":[{"skill":"profile questions like this one","weight":1.0,"score":0.7381,"n":4.59,"accuracy":0.7381,"interval":[0.437110261449928,0.952888458195767]},{"skill":"plus","weight":0.97,"score":0.78125,"n":6.0,"accuracy":0.78125,"interval":[0.5976129413845883,0.9239876218505547]}]},{"expert_id":"eve","weight":0.31479734312886287,"score":0.626,"accuracy":0.626,"evidence":[{"skill":"plus","weight":0.97,"score":0.640625,"n":6.0,"accuracy":0.640625,"interval":[0.43886587196533566,0.8217941230926525]}],"note":"asked next: 1 of 1 votes agreed"},{"expert_id":"bob","weight":0.31403345724907067,"score":0.3379,"accuracy":0.3379,"evidence":[{"skill":"plus","weight":0.97,"score":0.359375,"n":6.0,"accuracy":0.359375,"interval":[0.1782058769073474,0.5611341280346642]}],"note":"asked next: 1 of 2 votes agreed"}],"skills":[{"name":"plus","weight":0.97235}],"card_version":"8d2648110d37bec5","notes":["k=6 reduced to the 3 experts of the pool"]}');
INSERT INTO "prompt" VALUES(16,0,0,'[{"role":"user","content":"What hangs, and is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"all","recruits":[{"expert_id":"ada","weight":1.0,"score":0.7777777777777778,"accuracy":0.7777777777777778}],"card_version":"d043c906528cd781","notes":["no known skill: global prior used"]}');
INSERT INTO "prompt" VALUES(17,0,0,'[{"role":"user","content":"What hangs, and is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"all","recruits":[{"expert_id":"ada","weight":1.0,"score":0.7777777777777778,"accuracy":0.7777777777777778}],"card_version":"d043c906528cd781","notes":["no known skill: global prior used"]}');
INSERT INTO "prompt" VALUES(18,0,0,'[{"role":"user","content":"What is 2 plus 2?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"all","recruits":[{"expert_id":"bob","weight":1.0,"score":0.4444444444444444,"accuracy":0.4444444444444444}],"card_version":"d043c906528cd781","notes":["no known skill: global prior used"]}');
INSERT INTO "prompt" VALUES(19,0,0,'[{"role":"user","content":"What is 2 plus 2.0?\n\nThink step by step, then finish with one line: The answer is N, where N is a number.","tool_calls":[],"tool_call_id":null}]','{"router":"all","recruits":[{"expert_id":"bob","weight":1.0,"score":0.4444444444444444,"accuracy":0.4444444444444444}],"card_version":"d043c906528cd781","notes":["no known skill: global prior used"]}');
CREATE TABLE "query" (
	pk INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_pk INTEGER NOT NULL, 
	ix INTEGER NOT NULL, 
	custom_id TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	stage INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	n_outstanding INTEGER NOT NULL, 
	stepped_until DOUBLE, 
	step_attempt INTEGER DEFAULT '0' NOT NULL, reuse_key TEXT, 
	CONSTRAINT fk_query_job_pk_job FOREIGN KEY(job_pk) REFERENCES job (pk), 
	CONSTRAINT uq_query_job_pk_ix UNIQUE (job_pk, ix)
);
INSERT INTO "query" VALUES(1,1,0,'k0','{"id":"k0","question":"What is 2 plus 2?","answer":"4","answer_type":"number"}',0,1,'completed',0,NULL,0,NULL);
INSERT INTO "query" VALUES(2,1,1,'k1','{"id":"k1","question":"What is 2 plus 2.0?","answer":"4.0","answer_type":"number"}',0,1,'completed',0,NULL,0,NULL);
INSERT INTO "query" VALUES(3,1,2,'k2','{"id":"k2","question":"What is 3 plus 2?","answer":"5","answer_type":"number"}',0,1,'completed',0,NULL,0,NULL);
INSERT INTO "query" VALUES(4,1,3,'k3','{"id":"k3","question":"What is 4 plus 1?","answer":"5","answer_type":"number"}',0,1,'completed',0,NULL,0,NULL);
INSERT INTO "query" VALUES(5,1,4,'k4','{"id":"k4","question":"What is 2 plus 3?","answer":"5","answer_type":"number"}',0,1,'completed',0,NULL,0,NULL);
INSERT INTO "query" VALUES(6,1,5,'k5','{"id":"k5","question":"What is 1 plus 4?","answer":"5","answer_type":"number"}',0,1,'completed',0,NULL,0,NULL);
INSERT INTO "query" VALUES(7,2,0,'chat-3133a4c1f06e42f589cd8b5574d74874','{"id":"chat-3133a4c1f06e42f589cd8b5574d74874","question":"What is 2 plus 2?","answer_type":"number"}',10,3,'completed',0,NULL,0,NULL);
INSERT INTO "query" VALUES(8,3,0,'chat-f6f8906db4e5410fa5f4f2b4ae5d8ff5','{"id":"chat-f6f8906db4e5410fa5f4f2b4ae5d8ff5","question":"What is 2 plus 2?"}',10,1,'completed',0,NULL,0,NULL);
INSERT INTO "query" VALUES(9,4,0,'one','{"id":"one","question":"What is 2 plus 2?","endpoint":"/v1/chat/completions"}',0,3,'completed',0,NULL,0,'d9b1cf4f05fcff327fee837f66ffd66c');
INSERT INTO "query" VALUES(10,5,0,'k0','{"id":"k0","question":"What is 2 plus 2?","answer_type":"number"}',0,3,'completed',0,NULL,0,'2b8ba0ea12824f0a244bc9e73ee8ccdf');
INSERT INTO "query" VALUES(11,5,1,'k1','{"id":"k1","question":"What is 2 plus 2.0?","answer_type":"number"}',0,3,'completed',0,NULL,0,'77428b76bd6dabb72c8e4dafc1c33b98');
INSERT INTO "query" VALUES(12,5,2,'k2','{"id":"k2","question":"What is 3 plus 2?","answer_type":"number"}',0,2,'completed',0,NULL,0,'260b2345a6f538008e57a0e8a8cd07f0');
INSERT INTO "query" VALUES(13,5,3,'k3','{"id":"k3","question":"What is 4 plus 1?","answer_type":"number"}',0,2,'completed',0,NULL,0,'d0c3dd0a94dbbba0c07b4d2480fa5a47');
INSERT INTO "query" VALUES(14,5,4,'k4','{"id":"k4","question":"What is 2 plus 3?","answer_type":"number"}',0,3,'completed',0,NULL,0,'cef5dd979fdce741988d17ccf883db52');
INSERT INTO "query" VALUES(15,5,5,'k5','{"id":"k5","question":"What is 1 plus 4?","answer_type":"number"}',0,2,'completed',0,NULL,0,'65c3a219f450dbb6cab7040b79ecf5d5');
INSERT INTO "query" VALUES(16,6,0,'h0','{"id":"h0","question":"What hangs, and is 2 plus 2?","answer_type":"number","terms":{"composition":"expert:ada"}}',0,1,'open',1,NULL,0,'f5d860697fc7e110ab8c028486fd77d4');
INSERT INTO "query" VALUES(17,6,1,'h1','{"id":"h1","question":"What hangs, and is 2 plus 2?","answer_type":"number","terms":{"composition":"expert:ada"}}',0,1,'open',1,NULL,0,'f5d860697fc7e110ab8c028486fd77d4');
INSERT INTO "query" VALUES(18,6,2,'k0','{"id":"k0","question":"What is 2 plus 2?","answer_type":"number","terms":{"composition":"expert:bob"}}',0,1,'completed',0,NULL,0,'474fd6b4071d679111ceef9fe94e66f3');
INSERT INTO "query" VALUES(19,6,3,'k1','{"id":"k1","question":"What is 2 plus 2.0?","answer_type":"number","terms":{"composition":"expert:bob"}}',0,1,'completed',0,NULL,0,'8b61bc6994a3ac562bb80283964d684d');
CREATE TABLE query_spending (
	query_pk INTEGER NOT NULL, 
	key_id TEXT NOT NULL, 
	period TEXT NOT NULL, 
	held_tokens BIGINT NOT NULL, 
	held_usd DOUBLE NOT NULL, 
	held_engine_s DOUBLE NOT NULL, 
	paid_tokens BIGINT NOT NULL, 
	paid_usd DOUBLE NOT NULL, 
	paid_engine_s DOUBLE NOT NULL, 
	CONSTRAINT pk_query_spending PRIMARY KEY (query_pk)
);
INSERT INTO "query_spending" VALUES(7,'key-d547e413abcd45ed','2026-11',0,0.0,0.0,81,0.0,9.62806312401396740749e-06);
INSERT INTO "query_spending" VALUES(8,'key-d547e413abcd45ed','2026-11',0,0.0,0.0,9,0.0,1.75547491632088194235e-06);
CREATE TABLE rate (
	engine_id TEXT NOT NULL, 
	device TEXT NOT NULL, 
	load_s DOUBLE, 
	tokens_per_s DOUBLE, 
	CONSTRAINT pk_rate PRIMARY KEY (engine_id, device)
);
INSERT INTO "rate" VALUES('ada','auto',4.76434874940423469524e-04,6.40393991314337588825e+06);
INSERT INTO "rate" VALUES('bob','auto',5.29147499719329061917e-05,7.09662003378264512852e+06);
INSERT INTO "rate" VALUES('eve','auto',6.29296255283407e-05,1.08365452715013027193e+07);
CREATE TABLE share (
	job_pk INTEGER NOT NULL, 
	engine_id TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	rank INTEGER NOT NULL, 
	n_waiting INTEGER NOT NULL, 
	n_retried INTEGER NOT NULL, 
	waiting_tokens BIGINT NOT NULL, 
	turn DOUBLE NOT NULL, 
	since DOUBLE NOT NULL, 
	CONSTRAINT pk_share PRIMARY KEY (job_pk, engine_id)
);
INSERT INTO "share" VALUES(6,'ada',0,0,0,0,0,2.0,1.79585897169101977354e+09);
INSERT INTO "share" VALUES(6,'bob',0,0,0,0,0,2.0,1.79585897169101977354e+09);
CREATE TABLE shared_key (
	purpose TEXT NOT NULL, 
	value TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_shared_key PRIMARY KEY (purpose)
);
CREATE TABLE usage_count (
	day INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	model TEXT NOT NULL, 
	role TEXT NOT NULL, 
	stripe INTEGER NOT NULL, 
	n_completed BIGINT NOT NULL, 
	n_failed BIGINT NOT NULL, 
	n_cancelled BIGINT NOT NULL, 
	n_expired BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	cost_usd DOUBLE NOT NULL, 
	engine_s DOUBLE NOT NULL, 
	single_prompt_tokens BIGINT NOT NULL, 
	single_completion_tokens BIGINT NOT NULL, 
	CONSTRAINT pk_usage_count PRIMARY KEY (day, owner, model, role, stripe)
);
INSERT INTO "usage_count" VALUES(0,'','ada','expert',1,6,0,0,0,138,24,0.0,3.85868999728700146079e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'','ada','expert',1,6,0,0,0,138,24,0.0,3.85868999728700146079e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','bob','expert',1,6,0,0,0,138,24,0.0,2.41562999690359019771e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'','bob','expert',1,6,0,0,0,138,24,0.0,2.41562999690359019771e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','eve','expert',1,6,0,0,0,138,24,0.0,1.75314000443904660642e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'','eve','expert',1,6,0,0,0,138,24,0.0,1.75314000443904660642e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','ada','expert',2,1,0,0,0,23,4,0.0,2.82473999504873063415e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-d547e413abcd45ed','ada','expert',2,1,0,0,0,23,4,0.0,2.82473999504873063415e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','eve','expert',2,1,0,0,0,23,4,0.0,1.13950999548251274973e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-d547e413abcd45ed','eve','expert',2,1,0,0,0,23,4,0.0,1.13950999548251274973e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','bob','expert',2,1,0,0,0,23,4,0.0,1.06209000477974768728e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-d547e413abcd45ed','bob','expert',2,1,0,0,0,23,4,0.0,1.06209000477974768728e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','auto','question',2,1,0,0,0,0,0,0.0,0.0,23,4);
INSERT INTO "usage_count" VALUES(20785,'key-d547e413abcd45ed','auto','question',2,1,0,0,0,0,0,0.0,0.0,23,4);
INSERT INTO "usage_count" VALUES(0,'','ada','expert',3,1,0,0,0,5,4,0.0,1.5623400031472556293e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-d547e413abcd45ed','ada','expert',3,1,0,0,0,5,4,0.0,1.5623400031472556293e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','ada','question',3,1,0,0,0,0,0,0.0,0.0,5,4);
INSERT INTO "usage_count" VALUES(20785,'key-d547e413abcd45ed','ada','question',3,1,0,0,0,0,0,0.0,0.0,5,4);
INSERT INTO "usage_count" VALUES(0,'','ada','expert',4,1,0,0,0,5,4,0.0,2.30546000238973647356e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','ada','expert',4,1,0,0,0,5,4,0.0,2.30546000238973647356e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','eve','expert',4,1,0,0,0,5,4,0.0,1.25729000501451082527e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','eve','expert',4,1,0,0,0,5,4,0.0,1.25729000501451082527e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','bob','expert',4,1,0,0,0,5,4,0.0,1.1138700028823222965e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','bob','expert',4,1,0,0,0,5,4,0.0,1.1138700028823222965e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','auto','line',4,1,0,0,0,0,0,0.0,0.0,5,4);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','auto','line',4,1,0,0,0,0,0,0.0,0.0,5,4);
INSERT INTO "usage_count" VALUES(0,'','ada','expert',5,6,0,0,0,138,24,0.0,3.61713000529562123119e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','ada','expert',5,6,0,0,0,138,24,0.0,3.61713000529562123119e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','eve','expert',5,6,0,0,0,138,24,0.0,2.32759999562404118478e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','eve','expert',5,6,0,0,0,138,24,0.0,2.32759999562404118478e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','auto','line',5,6,0,0,0,0,0,0.0,0.0,138,24);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','auto','line',5,6,0,0,0,0,0,0.0,0.0,138,24);
INSERT INTO "usage_count" VALUES(0,'','bob','expert',5,3,0,0,0,69,12,0.0,2.04097000278125051409e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','bob','expert',5,3,0,0,0,69,12,0.0,2.04097000278125051409e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','bob','expert',6,2,0,0,0,46,8,0.0,1.65127999935066354557e-04,0,0);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','bob','expert',6,2,0,0,0,46,8,0.0,1.65127999935066354557e-04,0,0);
INSERT INTO "usage_count" VALUES(0,'','bob','line',6,2,0,0,0,0,0,0.0,0.0,46,8);
INSERT INTO "usage_count" VALUES(20785,'key-84f3fc0d83314c85','bob','line',6,2,0,0,0,0,0,0.0,0.0,46,8);
CREATE INDEX ix_card_profile_hash ON card (profile_hash);
CREATE INDEX ix_engine_load_at ON engine_load (at);
CREATE INDEX ix_engine_load_owner ON engine_load (owner);
CREATE INDEX ix_job_ended ON job (kind, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX ix_job_deleted ON job (pk) WHERE state = 'deleted';
CREATE INDEX ix_outbox_job_pk ON outbox (job_pk);
CREATE INDEX ix_assignment_leased ON assignment (lease_owner) WHERE state = 'leased';
CREATE INDEX ix_assignment_fresh ON assignment (engine_id, job_pk, pk) WHERE state = 'waiting' AND attempt = 0;
CREATE INDEX ix_assignment_retried ON assignment (engine_id, priority, attempt, pk) WHERE state = 'waiting' AND attempt > 0;
CREATE INDEX ix_query_ready ON "query" (priority, job_pk, pk) WHERE state = 'open' AND n_outstanding = 0;
CREATE INDEX ix_query_routing ON "query" (pk) WHERE state = 'open' AND n_outstanding = 0 AND stage = 0;
CREATE INDEX ix_share_turn ON share (engine_id, rank, turn) WHERE n_waiting > n_retried;
CREATE INDEX ix_share_waiting ON share (engine_id, job_pk) WHERE n_waiting > 0;
CREATE INDEX ix_job_deadline ON job (deadline_at) WHERE state = 'running';
CREATE INDEX ix_job_state ON job (state, pk);
CREATE INDEX ix_engine_load_engine ON engine_load (engine_id, at);
CREATE INDEX ix_job_owner ON job (owner, pk) WHERE owner <> '';
CREATE INDEX ix_keyed_request_unique_id ON keyed_request (unique_id);
CREATE INDEX ix_keyed_request_created_at ON keyed_request (created_at);
CREATE INDEX ix_exchange_job ON exchange (job_id);
CREATE INDEX ix_file_owner ON file (owner, pk);
CREATE INDEX ix_file_expires ON file (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX ix_batch_owner ON batch (owner, pk);
CREATE INDEX ix_batch_open ON batch (pk) WHERE state IN ('validating', 'in_progress', 'finalizing', 'cancelling');
CREATE INDEX ix_query_reuse_key ON "query" (reuse_key) WHERE reuse_key IS NOT NULL;
CREATE INDEX ix_job_session ON job (owner, session, pk) WHERE session <> '';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('query',19);
INSERT INTO "sqlite_sequence" VALUES('assignment',44);
COMMIT;
