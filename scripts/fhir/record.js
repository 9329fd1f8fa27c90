// Records what the server answers (medplum-*.json), and writes the shapes
// that it lacks (spec-*.json, see shapes.js), into t/fhir:
//
//     node record.js [FOLDER]

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { serve } from './server.js';
import { patients } from './data.js';
import { shapes } from './shapes.js';

const folder = process.argv[2] ?? join(import.meta.dirname, '../../t/fhir');
const scratch = mkdtempSync(join(tmpdir(), 'fhir-'));
const socketPath = join(scratch, 'fhir.sock');

const id = (i) => patients[i].id;
const insured = (i) => patients[i].identifier[0].value;
const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/fhir+json';

const batch = {
  resourceType: 'Bundle',
  type: 'batch',
  entry: [`Patient/${id(30)}`, `Patient/${id(31)}`, 'Patient/nobody',
    `Patient?_id=${id(33)},${id(34)}`, `Patient/${id(36)}/_history/1`,
    `Observation?subject=Patient/${id(35)}`, 'Observation/obs-37-0',
    'Patient?_id=nobody', `Patient/${id(35)}/_history`]
    .map((url) => ({ request: { method: 'GET', url } })),
};

// name, method, what is asked for, body, its type

const asked = [
  ['read', 'GET', `Patient/${id(0)}`],
  ['read-jsonb', 'GET', `Patient/${id(1)}`],
  ['read-alphabetic', 'GET', `Patient/${id(2)}`],
  ['read-id-last', 'GET', `Patient/${id(3)}`],
  ['read-pretty', 'GET', `Patient/${id(4)}?_pretty=true`],
  ['vread', 'GET', `Patient/${id(5)}/_history/1`],
  ['history', 'GET', `Patient/${id(8)}/_history`],
  ['search', 'GET', 'Patient?_count=10'],
  ['search-next', 'GET', 'Patient?_count=10&_offset=10'],
  ['search-pretty', 'GET', 'Patient?_count=7&_offset=20&_pretty=true'],
  ['search-id', 'GET', `Patient?_id=${id(11)},${id(12)},${id(13)},nobody`],
  ['search-identifier', 'GET', `Patient?identifier=${insured(14)}`],
  ['search-nobody', 'GET', 'Patient?_id=nobody'],
  ['post-id', 'POST', 'Patient/_search', `_id=${id(15)}%2C${id(16)}`, FORM],
  ['post-identifier', 'POST', 'Patient/_search',
    `identifier=${encodeURIComponent('http://portal.example/ids/insured|' + insured(17))}`, FORM],
  ['post-subject', 'POST', 'Observation/_search', `subject=Patient%2F${id(18)}`, FORM],
  ['subject', 'GET', `Observation?subject=Patient/${id(19)}`],
  ['observations', 'GET', 'Observation?_count=15&_offset=60'],
  ['observation', 'GET', 'Observation/obs-21-1'],
  ['encounters', 'GET', 'Encounter?_count=12&_offset=90'],
  ['practitioner', 'GET', 'Practitioner/gp-1'],
  ['missing', 'GET', 'Patient/nobody'],
  ['batch', 'POST', '', JSON.stringify(batch), JSON_TYPE],
];

function ask(method, what, body, type) {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path: `/fhir/${what}`,
      headers: type ? { 'Content-Type': type } : {} }, (response) => {
      const pieces = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('end', () => resolve([response.statusCode, Buffer.concat(pieces)]));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

for (const name of readdirSync(folder)) {
  if (/^(medplum|spec)-.*\.json$/.test(name)) {
    rmSync(join(folder, name));
  }
}

const server = await serve(socketPath);
const requests = {};
let size = 0;

for (const [name, method, what, body, type] of asked) {
  const [status, text] = await ask(method, what, body, type);
  const file = `medplum-${name}.json`;

  writeFileSync(join(folder, file), text);
  requests[file] = { method, uri: `/fhir/${what}`, status,
    ...(body && { type, body }) };
  size += text.length;
}

for (const [name, text] of Object.entries(shapes)) {
  writeFileSync(join(folder, `spec-${name}.json`), text);
  size += Buffer.byteLength(text);
}

writeFileSync(join(folder, 'requests.json'), JSON.stringify(requests, null, 1) + '\n');

server.close();
server.closeAllConnections();
rmSync(scratch, { recursive: true });

console.log(`${asked.length} recorded, ${Object.keys(shapes).length} written, ${size} bytes`);
