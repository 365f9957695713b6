// What the programs are asked to do, as shell scripts that host and guest run in the same root. Nothing in their output
// may depend on time, on random numbers or on the machine; the lines that still do are left out by `RULES`.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Job {
  readonly name: string;
  readonly about: string;
  readonly script: string;
}

/** Lines that state times, or the machine they ran on. */
export const RULES: readonly { readonly pattern: RegExp; readonly about: string }[] = [
  { pattern: /^Ran \d+ tests? in [\d.]+s$/, about: 'unittest: how long a file took' },
  { pattern: /^\d+:\d\d:\d\d load avg: /, about: 'regrtest: time and load before each file' },
  { pattern: /^test_\w+ passed in [\d.]+ (sec|min.*)$/, about: 'regrtest: how long a file took' },
  { pattern: /^Total duration: /, about: 'regrtest: how long all took' },
  { pattern: /^== (Linux|cwd|CPU count|CPython)/, about: 'regrtest: kernel, folder and processors' },
];

/** A file that everybody has, with code, text and zeros. */
const DATA = '/usr/bin/python3.11';
const KEY = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';
const IV = 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff';

const digests = `
head -c 1000003 ${DATA} >/tmp/data
for d in $(openssl list -digest-commands); do
  openssl dgst -$d /tmp/data 2>/dev/null || echo "$d is not there"
done
openssl mac -cipher AES-256-GCM -macopt hexkey:${KEY} -macopt hexiv:${IV.slice(0, 24)} -in /tmp/data GMAC
openssl mac -cipher AES-256-CBC -macopt hexkey:${KEY} -in /tmp/data CMAC
openssl mac -digest SHA512 -macopt hexkey:${KEY} -in /tmp/data HMAC
openssl mac -macopt hexkey:${KEY} -in /tmp/data Poly1305
openssl mac -macopt hexkey:${KEY} -in /tmp/data KMAC256
openssl mac -macopt hexkey:${KEY.slice(0, 32)} -in /tmp/data SIPHASH
openssl kdf -keylen 64 -kdfopt digest:SHA256 -kdfopt pass:plinth -kdfopt salt:salt -kdfopt iter:2000 PBKDF2
openssl kdf -keylen 64 -kdfopt pass:plinth -kdfopt salt:salt -kdfopt n:1024 -kdfopt r:8 -kdfopt p:2 SCRYPT
openssl kdf -keylen 64 -kdfopt digest:SHA384 -kdfopt hexkey:${KEY} -kdfopt salt:salt HKDF
`;

const ciphers = `
head -c 30000 ${DATA} >/tmp/data
for c in $(openssl list -cipher-commands); do
  if openssl enc -e -$c -K ${KEY} -iv ${IV} -in /tmp/data -out /tmp/secret 2>/dev/null; then
    openssl enc -d -$c -K ${KEY} -iv ${IV} -in /tmp/secret 2>/dev/null | cmp - /tmp/data && echo "$c is the same"
    sha256sum </tmp/secret
  else
    echo "$c is not there"
  fi
done
`;

const keys = `
cd /keys
head -c 50000 ${DATA} >/tmp/data
openssl dgst -sha256 -sign rsa.pem -out /tmp/s /tmp/data && sha256sum /tmp/s
openssl dgst -sha256 -verify rsa.pub -signature /tmp/s /tmp/data
openssl dgst -sha256 -sign p256.pem -out /tmp/s /tmp/data && openssl dgst -sha256 -verify p256.pub -signature /tmp/s /tmp/data
openssl dgst -sha384 -sign p384.pem -out /tmp/s /tmp/data && openssl dgst -sha384 -verify p384.pub -signature /tmp/s /tmp/data
for k in ed25519 ed448; do
  openssl pkeyutl -sign -rawin -inkey $k.pem -in /tmp/data -out /tmp/s && sha256sum /tmp/s
  openssl pkeyutl -verify -rawin -inkey $k.pem -in /tmp/data -sigfile /tmp/s
done
for k in x25519 x448 p256 p384; do openssl pkeyutl -derive -inkey $k.pem -peerkey $k-peer.pub | sha256sum; done
openssl rsa -in rsa.pem -check -noout
openssl prime -checks 20 170141183460469231731687303715884105727
openssl prime -checks 20 170141183460469231731687303715884105729
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out /tmp/rsa 2>/dev/null && openssl rsa -in /tmp/rsa -check -noout
`;

/** What is measured is the guest's own affair; that every test runs and ends well is compared. */
const speed = `
for what in 'sha256' '-evp aes-128-gcm' '-evp chacha20-poly1305' 'ecdhp256'; do
  openssl speed -seconds 1 -bytes 4096 $what >/tmp/out 2>/dev/null
  echo "speed $what: exit $?"
done
`;

const compress = `
head -c 1000001 ${DATA} >/tmp/data
for level in 1 6 9; do
  gzip -n -$level </tmp/data >/tmp/z && sha256sum </tmp/z && gzip -t </tmp/z && gzip -dc </tmp/z | cmp - /tmp/data && echo "gzip -$level is the same"
done
for how in -0 -3 -6e '--format=lzma -2' '--x86 --lzma2=preset=1' '--delta=dist=4 --check=sha256 --lzma2=preset=0'; do
  head -c 400003 /tmp/data | xz -T1 $how >/tmp/z && sha256sum </tmp/z && xz -T1 -dc </tmp/z | sha256sum
done
python3.11 -c "
import zlib, bz2, lzma, hashlib
data = open('/tmp/data', 'rb').read(400000)
for pack, unpack in ((zlib.compress, zlib.decompress), (lzma.compress, lzma.decompress), (bz2.compress, bz2.decompress)):
    packed = pack(data)
    print(len(packed), hashlib.sha256(packed).hexdigest(), unpack(packed) == data)
print(zlib.crc32(data), zlib.adler32(data))
"
`;

const sums = `
head -c 67108864 /dev/zero | openssl enc -aes-128-ctr -K ${KEY.slice(0, 32)} -iv ${IV} -out /tmp/large
sha256sum /tmp/large
head -c 8388607 /tmp/large >/tmp/data
for s in md5sum sha1sum sha224sum sha384sum sha512sum b2sum 'cksum -a sm3' 'cksum -a bsd' 'cksum -a sysv'; do $s /tmp/data; done
rm /tmp/large
`;

const text = `
seq 0 0.1 200 | sha256sum
seq 1e9 12345.678 1.001e9 | sha256sum
/usr/bin/printf '%.30g %a %e\\n' 0.1 0.1 0.1 1e4000 1e4000 1e4000 3.3621e-4932 3.3621e-4932 3.3621e-4932
numfmt --to=iec --format=%.3f 1 1000 123456789 98765432109876
numfmt --from=si --to=iec-i 3.7G 12M 1.5T
factor 18446744073709551615 1000000016000000063 123456789012345678901234567 4611686014132420609 340282366920938463463374607431768211455
head -c 700003 ${DATA} >/tmp/data
od -A x -t x1z /tmp/data | sha256sum
od -t fD -N 100000 /tmp/data | sha256sum
od -t fL -N 100000 /tmp/data | sha256sum
od -t fF -N 100000 /tmp/data | sha256sum
base64 /tmp/data | tee /tmp/b | sha256sum
base64 -d /tmp/b | cmp - /tmp/data && echo same
base32 /tmp/data | tac | sort -S 8M --parallel=1 | uniq -c | sha256sum
sort -g -S 8M --parallel=1 /jobs/numbers.txt | sha256sum
sort -h -S 8M --parallel=1 /jobs/numbers.txt | sha256sum
shuf --random-source=${DATA} /tmp/b | sha256sum
basenc --z85 -d </dev/null; head -c 1000000 /tmp/data | basenc --z85 | sha256sum
wc /tmp/b; tr a-z A-Z </tmp/b | fold -w 33 | pr -t -3 | expand | sha256sum
split -n 7 --filter=sha256sum /tmp/data
`;

const test = (names: string): string => `python3.11 -m test -v ${names} 2>&1\n`;

export const JOBS: readonly Job[] = [
  { name: 'digests', about: 'openssl: every digest, MACs, key derivation', script: digests },
  { name: 'ciphers', about: 'openssl: every cipher, there and back', script: ciphers },
  { name: 'keys', about: 'openssl: RSA, EC, Ed25519, X25519, primes', script: keys },
  { name: 'speed', about: 'openssl speed runs and ends well', script: speed },
  { name: 'compress', about: 'gzip, xz, zlib, lzma, bzip2: there and back', script: compress },
  { name: 'sums', about: 'sha256sum of 64 MiB, the other sums of 8', script: sums },
  { name: 'text', about: 'coreutils: long double, big numbers, sorting, encodings', script: text },
  {
    name: 'numbers',
    about: 'python3: every function of math and cmath, floats in text, struct, decimal',
    script: 'python3.11 /jobs/numeric.py\n',
  },
  { name: 'test-float', about: 'python3 -m test test_float', script: test('test_float') },
  { name: 'test-math', about: 'python3 -m test test_math test_cmath', script: test('test_math test_cmath') },
  { name: 'test-struct', about: 'python3 -m test test_struct', script: test('test_struct') },
  { name: 'test-decimal', about: 'python3 -m test test_decimal', script: test('test_decimal') },
];

/** Made once in a new root: keys, and Python's modules compiled, which no package has. */
export const PREPARE = `
set -e
mkdir -p /keys && cd /keys
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem
openssl pkey -in rsa.pem -pubout -out rsa.pub
for c in 256 384; do
  for n in p$c p$c-peer; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-$c -out $n.pem
    openssl pkey -in $n.pem -pubout -out $n.pub
  done
done
for k in ed25519 ed448 x25519 x448 x25519-peer x448-peer; do
  openssl genpkey -algorithm \${k%-peer} -out $k.pem
  openssl pkey -in $k.pem -pubout -out $k.pub
done
python3.11 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11 >/dev/null || true
`;

/**
 * What every job finds in its environment. libm chooses its functions by CPUID, and those for FMA differ from the others
 * in a last digit now and then: where the guest's model has no FMA the host is told to do without.
 */
export function environment(model: string): string {
  const masked = model === 'v3' || model === 'max' ? '' : 'glibc.cpu.hwcaps=-AVX2,-FMA,-AVX,-FMA4';
  return `export PATH=/usr/bin:/bin HOME=/tmp TMPDIR=/tmp LC_ALL=C.UTF-8 TZ=UTC PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
export GLIBC_TUNABLES=${masked}
`;
}

/**
 * Runs the jobs named; what belongs to which stands between marks. Output goes to a file first, because programs write
 * to a terminal in other pieces than elsewhere.
 */
export const RUNNER = `. /jobs/environment
cd /tmp
for job; do
  echo "@@ begin $job"
  sh /jobs/$job.sh >/tmp/output 2>&1 </dev/null
  status=$?
  cat /tmp/output
  echo "@@ exit $status"
done
`;

/** The files of the folder /jobs. */
export function jobFiles(model: string): Map<string, string> {
  const files = new Map(JOBS.map((job) => [`${job.name}.sh`, job.script]));
  files.set('environment', environment(model));
  files.set('run', RUNNER);
  files.set('prepare', PREPARE);
  files.set('numeric.py', readFileSync(join(import.meta.dirname, 'numeric.py'), 'utf8'));
  files.set('numbers.txt', numberLines());
  return files;
}

/** Numbers in all writings, in no order. */
function numberLines(): string {
  let x = 12345;
  const lines: string[] = [];
  for (let i = 0; i < 4000; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    lines.push(i % 3 === 0 ? (x / 977).toExponential(9) : i % 3 === 1 ? `${(x % 5000) / 7}${'KMG'[x % 3]}` : `-${x}`);
  }
  return `${lines.join('\n')}\n`;
}
