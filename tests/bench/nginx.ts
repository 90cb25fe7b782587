/** The yardstick of a plain server: nginx with the values as static files. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../support/free-port.ts";
import { temporaryDirectory } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { until } from "../support/until.ts";
import { groupName, valueOf } from "./keys.ts";
import { type Cores, start } from "./processes.ts";

export const nginx = "nginx, static files";

/** One worker on one core. @returns its URL, under which the keys stand where a node has them */
export async function startNginx(defer: Defer, keys: readonly string[], cores: Cores): Promise<string> {
  const folder = temporaryDirectory(defer);
  const files = join(folder, "cache", groupName);
  mkdirSync(files, { recursive: true });
  for (const key of keys) writeFileSync(join(files, key), valueOf(key));
  const port = await freePort();
  const config = join(folder, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) =>
    `${name}_temp_path ${folder}/${name};`
  );
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off; ${temporary.join(" ")}
  default_type application/octet-stream;
  sendfile on; tcp_nodelay on; keepalive_requests 1000000000;
  open_file_cache max=10000;
  server {
    listen 127.0.0.1:${port};
    root ${folder};
    add_header cache-status '"nginx"; hit';
    add_header x-content-type-options nosniff;
    add_header content-security-policy sandbox;
  }
}
`,
  );
  const child = start(["nginx", "-p", folder, "-c", config], { cores });
  defer(() => child.kill("SIGKILL"));
  const url = `http://127.0.0.1:${port}`;
  const answers = () => fetch(`${url}/cache/${groupName}/${keys[0]}`).then(({ ok }) => ok, () => false);
  await until(answers, 5_000, () => `nginx does not answer on ${url}`);
  return url;
}
