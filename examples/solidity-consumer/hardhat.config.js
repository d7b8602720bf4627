import { resolve } from "node:path";

export default {
  solidity: {
    version: "0.8.37",
    // The compiler of this checkout. Leave the line out, and Hardhat fetches one.
    path: resolve(import.meta.dirname, "../../contracts/node_modules/solc/soljson.js"),
    // Compiled models use PUSH0 and MCOPY.
    settings: { evmVersion: "cancun" },
  },
  paths: { sources: "src", tests: { solidity: "test" }, cache: "cache/hardhat", artifacts: "cache/artifacts" },
  test: {
    solidity: {
      fsPermissions: { readFile: ["model.onnx"], readDirectory: ["program", "../../src/fedvm/chain/artifacts"] },
    },
  },
};
