// Property tests draw the same cases in every run. VERTEXQ_SEED=<number> draws others.
const { configureGlobal } = require('fast-check');

configureGlobal({ seed: Number(process.env.VERTEXQ_SEED ?? 20230501) });
