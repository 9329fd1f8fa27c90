// 120 patients who never were, each with two observations and an encounter:
// the same ones at each start.

const FAMILY = ['Abrial', 'Besnier', 'Corvec', 'Delorme', 'Estève', 'Faucon',
  'Guérand', 'Hamonic', 'Imbert', 'Jouvet', 'Kerdoncuf', 'Lamballe'];
const GIVEN = ['Alix', 'Basile', 'Camille', 'Dominique', 'Eloi', 'Flore',
  'Gaël', 'Hélène', 'Isaure', 'Joris'];
const CODES = [['8867-4', 'Heart rate', '/min', 60, 40],
  ['8310-5', 'Body temperature', 'Cel', 36, 3],
  ['29463-7', 'Body weight', 'kg', 45, 60]];

let state = 20220317;

function random(n) {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % n;
}

const digits = (n) => Array.from({ length: n }, () => random(10)).join('');
const hex = (n) => Array.from({ length: n }, () => random(16).toString(16)).join('');
const two = (n) => String(n).padStart(2, '0');

// the identifiers that servers give: UUIDs, numbers, names with "." and "-"

function identifier(i) {
  switch (i % 4) {
    case 0: return `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`;
    case 1: return String(1000 + 7 * i);
    case 2: return `pat-${two(i)}.${random(9)}`;
    default: return `P${digits(5)}`;
  }
}

// the orders of keys that servers write

const ORDERS = [
  (r) => r,
  (r) => sorted(r, (a, b) => a.length - b.length || (a < b ? -1 : 1)),  // jsonb
  (r) => sorted(r, (a, b) => (a < b ? -1 : 1)),                   // by alphabet
  ({ id, meta, ...rest }) => ({ ...rest, id, meta }),               // id at last
];

export function sorted(value, compare) {
  if (Array.isArray(value)) {
    return value.map((v) => sorted(v, compare));
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  return Object.fromEntries(Object.keys(value).sort(compare)
    .map((key) => [key, sorted(value[key], compare)]));
}

export const jsonb = ORDERS[1];
export const alphabetic = ORDERS[2];

const meta = (version, day) => ({
  versionId: String(version),
  lastUpdated: `2026-03-${two(1 + (day % 28))}T08:${two(day % 60)}:00.000Z`,
});

const PORTAL = 'http://portal.example/ids';

function patient(i) {
  const family = FAMILY[random(FAMILY.length)];
  const given = GIVEN[random(GIVEN.length)];
  return {
    resourceType: 'Patient',
    id: identifier(i),
    meta: meta(1, i),
    text: {
      status: 'generated',
      div: '<div xmlns="http://www.w3.org/1999/xhtml">'
        + `${given} "${family}"</div>`,
    },
    identifier: [{
      use: 'official',
      type: { coding: [{ code: 'NI', system: 'http://terminology.hl7.org/CodeSystem/v2-0203' }] },
      system: `${PORTAL}/insured`,
      value: '9' + digits(14),       // of no insured person: those begin 1, 2
    }],
    active: true,
    name: [{ use: 'official', family, given: [given] }],
    telecom: [{ system: 'phone', value: `+33 1 99 00 ${digits(2)} ${digits(2)}` }],
    gender: i % 2 ? 'female' : 'male',
    birthDate: `19${two(30 + random(69))}-${two(1 + random(12))}-${two(1 + random(28))}`,
    address: [{ line: [`${1 + random(99)} rue des Essais`], city: 'Nulleville', postalCode: '99000', country: 'FR' }],
    generalPractitioner: [{ reference: `Practitioner/gp-${i % 5}` }],
    managingOrganization: { reference: 'Organization/o-1' },
  };
}

function observation(i, n, subject) {
  const [code, display, unit, least, span] = CODES[(i + n) % CODES.length];
  return {
    resourceType: 'Observation',
    id: `obs-${i}-${n}`,
    meta: meta(1, i + n),
    status: 'final',
    code: { coding: [{ system: 'http://loinc.org', code, display }] },
    subject: { reference: subject },
    encounter: { reference: `Encounter/enc-${i}` },
    effectiveDateTime: `2026-03-${two(1 + (i % 28))}T09:00:00Z`,
    valueQuantity: { value: least + random(span), unit, system: 'http://unitsofmeasure.org', code: unit },
  };
}

export const patients = [];          // as they are now
export const versions = [];          // what they were before, oldest first
export const observations = [];
export const encounters = [];

for (let i = 0; i < 120; i++) {
  let now = patient(i);

  for (let v = 2; v < 2 + i % 3; v++) {
    versions.push(ORDERS[i % 7 % 4](now));
    now = { ...now, meta: meta(v, i), telecom: [{ system: 'email', value: `p${i}.${v}@mail.example` }] };
  }

  patients.push(ORDERS[i % 7 % 4](now));

  for (let n = 0; n < 2; n++) {
    observations.push(ORDERS[(i + n) % 5 % 3](observation(i, n, `Patient/${now.id}`)));
  }

  encounters.push({
    resourceType: 'Encounter',
    id: `enc-${i}`,
    meta: meta(1, i),
    status: 'finished',
    class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'AMB' },
    subject: { reference: `Patient/${now.id}${i % 3 ? '' : '/_history/1'}`, display: `Patient ${i}` },
    participant: [{ individual: { reference: `Practitioner/gp-${i % 5}` } }],
    period: { start: `2026-03-${two(1 + (i % 28))}T08:30:00Z` },
  });
}

export const practitioners = [0, 1, 2, 3, 4].map((n) => ({
  resourceType: 'Practitioner',
  id: `gp-${n}`,
  meta: meta(1, n),
  name: [{ family: FAMILY[n], prefix: ['Dr'] }],
}));
