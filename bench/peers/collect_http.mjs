/** The floor: bodies are received and answered, and nothing else. */
import { createServer } from "node:http";

const answer = Buffer.from('{"success":true}');
const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    response.writeHead(200, ["content-type", "application/json", "content-length", "16"]);
    response.end(answer);
  });
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
