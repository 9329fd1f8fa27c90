// Shapes that FHIR R4 allows and other servers send, but Medplum's repository
// in memory does not: written after the specification, not recorded.

import { alphabetic, encounters, jsonb, observations, patients, practitioners }
  from './data.js';

const AT = 'https://portal.example/fhir';

const usual = ({ resourceType, id, meta, ...rest }) => ({ resourceType, id, meta, ...rest });
const plain = ({ text, ...rest }) => usual(rest);
const patient = (i) => plain(patients[i]);
const observation = (i, n) => usual(observations[2 * i + n]);

const full = (resource) => `${AT}/${resource.resourceType}/${resource.id}`;
const entry = (resource, mode) => ({ fullUrl: full(resource), resource,
  ...(mode && { search: { mode } }) });

const links = (o) => Object.entries(o).map(([relation, url]) => ({ relation, url }));
const searchset = (entries, o = {}) => ({
  resourceType: 'Bundle', id: 'f0e1d2c3', meta: { lastUpdated: '2026-03-09T08:00:00Z' },
  type: 'searchset', ...(o.total !== undefined && { total: o.total }),
  link: links(o.link ?? { self: `${AT}/Patient?_count=10` }),
  ...(entries.length && { entry: entries }),
});

const compact = (o) => JSON.stringify(o);
const pretty = (o) => JSON.stringify(o, null, 2);
const escaped = (text) => text.replaceAll('/', '\\/');          // as PHP does
const spaced = (o) => pretty(o).replace(/^(\s*"(?:[^"\\]|\\.)*"):/gm, '$1 :');
const crlf = (o) => JSON.stringify(o, null, '\t').replaceAll('\n', '\r\n');

const subject = (i, o) => ({ ...o, subject: { reference: `Patient/${patients[i].id}` } });
const reference = (text) => ({ reference: text });

export const shapes = {

  everything: compact(searchset([
    entry(patient(40), 'match'),
    ...[0, 1].map((n) => entry(observation(40, n), 'include')),
    entry(usual(encounters[40]), 'include'),
    entry(practitioners[0], 'include'),
  ], { total: 5, link: {
    self: `${AT}/Patient/${patients[40].id}/$everything`,
    next: `${AT}/Patient/${patients[40].id}/$everything?page=2`,
  } })),

  include: pretty(searchset([
    entry(observation(41, 0), 'match'), entry(observation(42, 1), 'match'),
    entry(patient(41), 'include'), entry(patient(42), 'include'),
  ], { total: 2, link: { self: `${AT}/Observation?code=8867-4&_include=Observation:subject` } })),

  revinclude: compact(searchset([
    entry(patient(43), 'match'), entry(patient(44), 'match'),
    entry(observation(43, 0), 'include'), entry(observation(44, 0), 'include'),
    entry(usual(encounters[44]), 'include'),
  ], { link: { self: `${AT}/Patient?_id=${patients[43].id},${patients[44].id}&_revinclude=Observation:subject` } })),

  // neither who is asked for in links, nor who is on other pages, is disclosed
  'page-first': compact(searchset([45, 46, 47].map((i) => entry(patient(i), 'match')), {
    total: 9, link: {
      self: `${AT}/Patient?_count=3`,
      next: `${AT}?_getpages=9b1c&_getpagesoffset=3&_count=3&_id=${patients[48].id}`,
    } })),
  'page-next': pretty(searchset([48, 49, 50].map((i) => entry(observation(i, 0), 'match')), {
    total: 9, link: {
      self: `${AT}/Observation?subject=Patient/${patients[51].id}&_count=3&page=2`,
      previous: `${AT}/Observation?subject=Patient/${patients[51].id}&_count=3`,
      next: `${AT}/Observation?subject=Patient%2F${patients[52].id}&page=3`,
    } })),
  'page-empty': compact(searchset([], { total: 0, link: {
    self: `${AT}/Observation?patient=Patient/${patients[53].id}` } })),
  'compartment-empty': compact(searchset([], { total: 0, link: {
    self: `${AT}/Patient/${patients[53].id}/Observation?code=1-8`,
    first: `${AT}/Patient/${patients[53].id}/_history` } })),

  'uuid-fullurl': compact({ resourceType: 'Bundle', type: 'collection', entry: [
    { fullUrl: 'urn:uuid:6f2c0d4e-7f4a-4a0b-9d40-000000000054', resource: patient(54) },
    { fullUrl: 'urn:uuid:6f2c0d4e-7f4a-4a0b-9d40-000000000055', resource: { ...observation(54, 0),
      subject: reference('urn:uuid:6f2c0d4e-7f4a-4a0b-9d40-000000000054') } },
  ] }),

  // a deleted patient is one without a resource
  'history-type': pretty({ resourceType: 'Bundle', type: 'history', total: 3,
    link: links({ self: `${AT}/Patient/_history` }),
    entry: [
      { fullUrl: full(patients[55]), resource: patient(55),
        request: { method: 'PUT', url: `Patient/${patients[55].id}` },
        response: { status: '200 OK', etag: 'W/"1"', lastModified: '2026-03-09T08:00:00Z' } },
      { fullUrl: full(patients[56]),
        request: { method: 'DELETE', url: `Patient/${patients[56].id}` },
        response: { status: '204 No Content', lastModified: '2026-03-09T08:00:00Z' } },
      { resource: patient(57), request: { method: 'POST', url: 'Patient' },
        response: { status: '201 Created', location: `Patient/${patients[57].id}/_history/1` } },
    ] }),

  'batch-response': compact({ resourceType: 'Bundle', type: 'batch-response', entry: [
    { resource: patient(58), response: { status: '200 OK', etag: 'W/"1"' } },
    { response: { status: '404 Not Found', outcome: { resourceType: 'OperationOutcome',
      issue: [{ severity: 'error', code: 'not-found', diagnostics: 'Resource Patient/nobody is not known' }] } } },
    { response: { status: '201 Created', location: `${AT}/Patient/${patients[59].id}/_history/1` } },
    { resource: searchset([entry(observation(60, 0), 'match')], { total: 1 }), response: { status: '200 OK' } },
  ] }),

  // the keys in the order of jsonb, or by alphabet, and no fullUrl to help
  jsonb: compact({ ...jsonb(searchset([])), entry: [61, 62, 63].map((i) => ({ resource: jsonb(patients[i]) })) }),
  'jsonb-observations': compact(jsonb(searchset([64, 65].map((i) => ({ resource: observation(i, 0) }))))),
  alphabetic: pretty(alphabetic(searchset([66, 67, 68].map((i) => ({ resource: patients[i] }))))),
  'id-last': compact({ resourceType: 'Bundle', type: 'searchset', entry: [69, 70].map((i) => {
    const { id, ...rest } = patients[i];
    return { resource: { ...rest, link: [{ other: reference(`Patient/${patients[i + 2].id}`), type: 'replaces' }], id } };
  }) }),

  php: escaped(JSON.stringify(searchset([entry(patient(73)), entry({ ...observation(74, 0),
    subject: reference(`${AT}/Patient/${patients[74].id}/_history/2`) })]), null, 4)),
  'php-compact': escaped(compact(searchset([entry(observation(75, 0)),
    { resource: subject(76, usual(encounters[76])) }]))),
  spaced: spaced(searchset([{ resource: jsonb(patients[77]) }, { resource: patient(78) },
    { resource: observation(79, 0) }])),
  crlf: crlf(searchset([{ resource: alphabetic(patients[80]) }, { resource: observation(81, 1) }])),

  // "#someone" names nobody to the outside; who a contained resource refers
  // to is named
  contained: pretty({ resourceType: 'DiagnosticReport', id: 'dr-1',
    contained: [
      { resourceType: 'Patient', id: 'someone', name: [{ family: 'Nemo' }] },
      subject(82, { resourceType: 'Observation', id: 'inside', status: 'final', code: { text: 'x' } }),
    ],
    status: 'final', code: { text: 'x' }, subject: reference('#someone') }),
  'contained-jsonb': compact(jsonb({ resourceType: 'DiagnosticReport', id: 'dr-2',
    contained: [{ resourceType: 'Patient', id: 'someone', name: [{ family: 'Nemo' }] }],
    status: 'final', code: { text: 'x' }, subject: reference('#someone') })),
  'contained-second': compact({ resourceType: 'DiagnosticReport', id: 'dr-3',
    contained: [{ resourceType: 'Practitioner', id: 'who' },
      { resourceType: 'Patient', id: 'someone', name: [{ family: 'Nemo' }] }],
    status: 'final', code: { text: 'x' }, subject: reference('#someone') }),

  references: compact({ resourceType: 'Bundle', type: 'collection', entry: [
    { resource: { resourceType: 'Appointment', id: 'ap-1', status: 'booked', participant: [
      { actor: reference(`Patient/${patients[83].id}`), status: 'accepted' },
      { actor: reference('Practitioner/gp-1'), status: 'accepted' }] } },
    { resource: { resourceType: 'List', id: 'li-1', status: 'current', mode: 'working', entry: [
      { item: reference(`Patient/${patients[84].id}/_history/1`) },
      { item: reference(`http://other.example:8080/r4/Patient/${patients[85].id}`) },
      { item: reference(`Patient/${patients[84].id}`) }] } },
    { resource: { resourceType: 'Group', id: 'gr-1', type: 'person', actual: true, member: [
      { entity: reference(`Patient/${patients[86].id}`) },
      { entity: reference(`${AT}/Patient/${patients[87].id}/_history/3`) }] } },
    { resource: { resourceType: 'Provenance', id: 'pr-1', target: [reference(`Patient/${patients[88].id}/_history/2`)],
      recorded: '2026-03-09T08:00:00Z', agent: [{ who: reference('Practitioner/gp-2') }] } },
    { resource: { resourceType: 'DocumentReference', id: 'do-1', status: 'current', content: [
      { attachment: { contentType: 'application/json', url: `${AT}/Patient/${patients[89].id}` } }] } },
  ] }),

  parameters: compact({ resourceType: 'Parameters', id: 'pa-1', parameter: [
    { name: 'return', resource: patient(90) },
    { name: 'source-patient', valueReference: reference(`Patient/${patients[91].id}`) },
    { name: 'note', valueString: 'Patient/nobody' }] }),

  // what looks like a patient, and is none
  lookalikes: pretty({ resourceType: 'Bundle', id: 'Patient', type: 'collection', entry: [
    { resource: { resourceType: 'ValueSet', id: 'vs-1', url: 'http://hl7.org/fhir/ValueSet/Patient', status: 'active',
      compose: { include: [{ system: 'http://hl7.org/fhir/resource-types', concept: [{ code: 'Patient', display: 'Patient/caregiver' }] }] } } },
    { resource: { resourceType: 'Subscription', id: 'su-1', status: 'active', reason: '"resourceType":"Patient","id":"quoted"',
      criteria: 'Patient/quoted', channel: { type: 'rest-hook' } } },
    { resource: { resourceType: 'Task', id: 'ta-1', status: 'draft', intent: 'plan', 'focus': reference('Observation/obs-1-1'),
      text: { status: 'generated', div: '<div xmlns="http://www.w3.org/1999/xhtml"><a href="Patient/quoted">"reference":"Patient/quoted"</a></div>' } } },
    { resource: { resourceType: 'StructureDefinition', id: 'Patient', type: 'Patient', url: 'http://hl7.org/fhir/StructureDefinition/Patient' } },
    { resource: { resourceType: 'Basic', id: 'ba-1', code: { text: 'x' }, extension: [{ id: 'e1', url: 'http://portal.example/x', valueCode: 'Patient' }] } },
    { resource: { resourceType: 'PatientX', id: 'px-1' } },
    { resource: { resourceType: 'Person', id: 'pe-1', link: [{ target: reference('RelatedPerson/rp-1') }] } },
  ] }),

  'no-id': compact({ resourceType: 'Patient', name: [{ family: 'Nemo' }], contact: [{ id: 'c1', name: { family: 'Nemo' } }] }),
  'element-ids': compact({ resourceType: 'Patient', name: [{ id: 'n1', family: 'Nemo' }], contact: [{ id: 'c1' }], id: patients[92].id }),

  // beyond what one match can see: a photograph between the keys.  With a
  // fullUrl, as the specification wants it, all is well
  photograph: compact(jsonb({ resourceType: 'Bundle', type: 'searchset', entry: [
    entry({ ...plain(patients[93]), photo: [{ contentType: 'image/png', data: 'iVBORw0K'.repeat(1024) }] }, 'match')] })),
  'photograph-far': compact(jsonb({ ...plain(patients[94]), photo: [{ contentType: 'image/png', data: 'iVBORw0K'.repeat(1024) }] })),
};
