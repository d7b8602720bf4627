// Puts, gets and pins blocks with kubo-rpc-client at a URL, and prints what came of it.
// Usage: node kubo_client.mjs URL CID
import { create } from 'kubo-rpc-client'
import { CID } from 'multiformats/cid'

const [, , url, root] = process.argv
const client = create({ url })
const put = await client.block.put(new TextEncoder().encode('from the client'), { format: 'raw', mhtype: 'sha2-256', version: 1 })
const pinned = await client.pin.add(put)
const bytes = await client.block.get(CID.parse(root))
let missing = ''
try {
  await client.block.get(CID.parse('bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq'), { offline: true })
} catch (error) {
  missing = error.message
}
console.log(JSON.stringify({
  put: put.toString(), pinned: [pinned.toString()], root: Buffer.from(bytes).toString('hex'), missing
}))
