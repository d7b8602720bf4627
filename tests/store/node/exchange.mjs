// Reads a CAR with @ipld/car, checks every block, prints what it holds as JSON, and writes the same blocks anew.
// Usage: node exchange.mjs IN.car OUT.car
import { createReadStream, createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { CarBlockIterator, CarWriter } from '@ipld/car'
import { sha256 } from 'multiformats/hashes/sha2'

const [, , from, to] = process.argv
const car = await CarBlockIterator.fromIterable(createReadStream(from))
const roots = await car.getRoots()
const { writer, out } = CarWriter.create(roots)
const written = new Promise((resolve, reject) =>
  Readable.from(out).pipe(createWriteStream(to)).on('finish', resolve).on('error', reject))
const blocks = []
for await (const { cid, bytes } of car) {
  const digest = await sha256.digest(bytes)
  if (Buffer.compare(Buffer.from(digest.bytes), Buffer.from(cid.multihash.bytes))) throw new Error(`${cid} differs`)
  blocks.push([cid.toString(), bytes.length])
  await writer.put({ cid, bytes })
}
await writer.close()
await written
console.log(JSON.stringify({ roots: roots.map(String), blocks }))
