require('../../../scripts/typescript.cjs');
const { quantizeCheckpoint } = require('../../../lib/index');

const [input, output] = process.argv.slice(2);
void quantizeCheckpoint(input, output, { groupSize: 32 });
