# Prints results of Python's numbers exactly: each function of math and cmath over awkward and random operands, floats to
# text and back, struct, decimal, and large integers. Long lists are printed as a digest with some of their members.
import cmath, ctypes, decimal, fractions, hashlib, math, random, statistics, struct

random.seed(20261122)
AWKWARD = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-300, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
           math.pi, -math.e, 1e16, 1e22, 0.1, 1 / 3, math.inf, -math.inf, math.nan]
RANDOM = [struct.unpack('<d', random.randbytes(8))[0] for _ in range(1500)]
MODEST = [random.uniform(-50, 50) for _ in range(3000)] + [random.gauss(0, 1) for _ in range(2000)]


def said(f, *args):
    try:
        r = f(*args)
    except (ValueError, OverflowError, ZeroDivisionError, TypeError, decimal.DecimalException) as e:
        return type(e).__name__
    if isinstance(r, float):
        return r.hex()
    if isinstance(r, complex):
        return r.real.hex() + ',' + r.imag.hex()
    if isinstance(r, tuple):
        return ' '.join(x.hex() if isinstance(x, float) else repr(x) for x in r)
    return repr(r)


def show(name, lines):
    text = '\n'.join(lines)
    print(name, len(lines), hashlib.sha256(text.encode()).hexdigest(), *lines[:: max(1, len(lines) // 4)][:5], sep=' | ')


def one(module, names, operands):
    for name in names:
        show(name, [said(getattr(module, name), x) for x in operands])


ONE = ('acos acosh asin asinh atan atanh cbrt ceil cos cosh degrees erf erfc exp exp2 expm1 fabs floor frexp gamma isfinite '
       'isinf isnan lgamma log log10 log1p log2 modf radians sin sinh sqrt tan tanh trunc ulp').split()
TWO = 'atan2 copysign fmod hypot log nextafter pow remainder'.split()
one(math, ONE, AWKWARD + RANDOM + MODEST)
PAIRS = [(a, b) for a in AWKWARD for b in AWKWARD] + list(zip(RANDOM, reversed(RANDOM))) + list(zip(MODEST, MODEST[7:]))
for name in TWO:
    show(name, [said(getattr(math, name), a, b) for a, b in PAIRS])
show('arithmetic', [said(f, a, b) for a, b in PAIRS for f in
                    (float.__add__, float.__sub__, float.__mul__, float.__truediv__, float.__mod__, float.__floordiv__)])
show('ldexp', [said(math.ldexp, x, n) for x in MODEST[:500] for n in (-1080, -1030, -1, 0, 7, 1020)])
show('fsum', [said(math.fsum, RANDOM[i:i + 40]) for i in range(0, 1500, 40)] + [said(math.fsum, MODEST), said(math.prod, MODEST[:80])])
COMPLEX = [complex(a, b) for a, b in PAIRS[::3]]
one(cmath, 'acos acosh asin asinh atan atanh cos cosh exp log log10 phase polar sin sinh sqrt tan tanh'.split(), COMPLEX)
show('repr', [repr(x) for x in AWKWARD + RANDOM + MODEST])
show('from text', [said(float, text) for x in RANDOM for text in (repr(x), '%.25e' % x, '%.3g' % x)])
show('format', [format(x, spec) for x in RANDOM[:300] + MODEST[:300] for spec in ('.0f', '.17g', '+.3e', ',.2f', '%')])
show('round', [said(round, x, n) for x in MODEST for n in (-1, 0, 3, 12)])
show('integer', [said(int, x) for x in RANDOM] + [said(x.as_integer_ratio) for x in RANDOM + MODEST])
show('struct', [struct.pack(c, x).hex() if math.isfinite(x) and abs(x) < 6e4 else '' for x in MODEST for c in ('<e', '>f', '<d', '@f')])
show('half', [said(lambda n: struct.unpack('<e', struct.pack('<H', n))[0], n) for n in range(0, 65536, 3)])
show('single', [said(lambda b: struct.unpack('>f', b)[0], random.randbytes(4)) for _ in range(3000)])
show('long double', [said(lambda v: ctypes.c_longdouble(v).value, x) for x in RANDOM + MODEST])
BIG = [random.getrandbits(n) for n in range(1, 4000, 61)]
show('big integers', [hashlib.md5(str((a * b, a // (b + 1), pow(a, 65537, b | 1), math.gcd(a, b), math.isqrt(a), a << 77)).encode()).hexdigest()
                      for a, b in zip(BIG, reversed(BIG))])
decimal.getcontext().prec = 60
D = [decimal.Decimal(x) for x in MODEST[:150]]
for name in 'exp ln log10 sqrt normalize to_integral_value'.split():
    show('decimal ' + name, [said(getattr(d, name)) for d in D])
show('decimal operators', [said(f, a, b) for a, b in zip(D, reversed(D)) for f in
                           (decimal.Decimal.__mul__, decimal.Decimal.__truediv__, decimal.Decimal.__pow__, decimal.Decimal.__mod__)])
show('fractions', [str(fractions.Fraction(x).limit_denominator(10 ** 6)) for x in MODEST[:400]])
print(statistics.fmean(MODEST).hex(), statistics.stdev(MODEST).hex(), statistics.median(MODEST).hex())
print(sum(hash(x) for x in AWKWARD[:-1] + RANDOM if x == x), hash(fractions.Fraction(22, 7)), random.random().hex())
