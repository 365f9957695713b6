// Programs that once showed a mismatch, reduced: every forced mode runs them.
export interface Regression {
  /** What was wrong. */
  readonly what: string;
  /** As `specText` writes it. */
  readonly spec: string;
}

export const REGRESSIONS: readonly Regression[] = [
  { what: 'the shadow of STI was gone when a slice ended behind it', spec: '10 near | interrupts:u3qwzf | ' },
  {
    what: 'a loop of a region and an instruction of the interpreter never looked at the budget',
    spec: '4282 near | branch:3g4g0(service:1y7f9o0 straight:ohjeuu) recursion:12s2rd1(stack:1s6uvwd) loop:an2enj(pageTable:1omllh7 patchAhead:krc698(straight:12l1yfa localCalls:1m31szx(table:1jhuqzn)) straight:12a24c0) patchOpcode:228pxu loop:uzs8jj(localCalls:1lih4bm(straight:1a5mjmo straight:1eytvfr) straight:m03xuk) call:11b2068 oddReturn:15crqt7(straight:7bqylw interrupts:9ra8tf) move:1l6a3md call:zhj0zd string:tgo4uw branch:fldiq2(call:1h4e9lo stack:1oof39e) straight:122rbz1 stack:17adxuw straight:11k4bkr straight:uqs0wu | function:160bqp7(loop:jy5yib(ports:zdvfuy) straight:j7csgj recursion:y8vhw6(branch:mqzvgz(branch:1u1b6ep straight:xrg61d) branch:1pqt161(processor:1niffmh))) function:1x31qpe(fault:1dmzbhy) function:1cdr694(alias:1qatnuh service:1kncbiz straight:cqb01w)',
  },
  {
    what: 'a branch cut by a 16-bit operand was linked to where its distance alone leads',
    spec: '4040408 near | cutBranch:sidunb | ',
  },
  {
    what: 'a region left before an unmasked SSE exception, which MXCSR told of already',
    spec: '777129 far | loop:109jo7t(table:9moaw9) masked:vsonq0(nearby:1bmxx33) | function:1hhnxug',
  },
  {
    what: 'flags were dead where a region goes into another page, which it may find changed and be left',
    spec: '881169 near | shortBranch:1nra8gm move:puth6v shortBranch:1d6x23s loop:oucve6(kernelGs:1jrz93l) processor:pail3g pageTable:smtk4v patchOpcode:133cfmc masked:1dx776m | function:57ayqh',
  },
  {
    what: 'behind a branch whose target was written in place, temporaries that flags and registers were known by were used again',
    spec: '881252 far | otherPage:1uy4qwu | function:1urx4oy',
  },
  {
    what: 'the shadow of STI was gone when the instruction behind it left the region and the budget was used up',
    spec: '771094 near | masked:1nto0w0 | function:wagke3',
  },
  { what: 'the same, far', spec: '771094 far | masked:1nto0w0 | function:wagke3' },
  { what: 'the same, near', spec: '881215 near | masked:1dpx266 | function:1nzy38m' },
  { what: 'the same, by another program', spec: '777088 far | masked:vxzc3r | function:1dngsor' },
  {
    what: 'instructions were carried out behind an interrupt whose delivery was a triple fault',
    spec: '660042 far | userAccess:1s95v1a(straight:g8nn0l samePage:42fr1a localCalls:1wu97p6(dataInCode:lessvm)) straight:9355m9 kernelGs:1296tf8 string:e3vw0p nearby:fduhgx branch:9tcclk(samePage:ewxdcc stack:1r6cnsf) | ',
  },
  {
    what: 'temporaries used again behind a block written in place, near',
    spec: '881158 near | samePage:1rdbkiz loop:hdxdid(straight:1wrk3te otherPage:x8qcy4 nearby:krldws) | ',
  },
];
