// Counts coturn's events with ioredis and prom-client, as one would begin to. Arguments: host, port, events.
import Redis from 'ioredis';
import client from 'prom-client';

const [host, port, wanted] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const bytes = new client.Counter({ name: 'relayed_bytes', help: '-', labelNames: ['realm', 'leg', 'direction'] });
const statuses = new client.Counter({ name: 'statuses', help: '-', labelNames: ['realm', 'word'] });
const channels = /^turn\/realm\/([^/]*)\/user\/.*\/allocation\/\d+\/(.*)$/;
const numbers = /^rcvp=\d+, rcvb=(\d+), sentp=\d+, sentb=(\d+)$/;

const redis = new Redis({ host, port });
let heard = 0;
let last = Date.now();
const end = () => {
  const { user, system } = process.cpuUsage();
  console.log(heard, (user + system) / 1e6, process.memoryUsage().rss);
  process.exit(0);
};
redis.on('pmessage', (_, channel, payload) => {
  heard += 1;
  last = Date.now();
  const [, realm, kind] = channels.exec(channel);
  if (kind === 'status') {
    statuses.inc({ realm, word: payload.split(' ', 1)[0] });
  } else if (!kind.startsWith('total')) {
    const [, received, sent] = numbers.exec(payload);
    const leg = kind.endsWith('/peer') ? 'peer' : 'client';
    bytes.inc({ realm, leg, direction: 'received' }, Number(received));
    bytes.inc({ realm, leg, direction: 'sent' }, Number(sent));
  }
  if (heard === wanted) end();
});
await redis.psubscribe('turn/*');
setInterval(() => { if (heard > 0 && Date.now() - last > 3000) end(); }, 500);
