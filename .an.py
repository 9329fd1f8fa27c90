import statistics as st
d={}
for l in open('/tmp/h-bench/.out'):
    p=l.split()
    if p and p[0] in('bare','bare_again','limit_req','embedded','lua_count','haproxy','strict'): d[p[0]]=[float(x) for x in p[1:]]
b=d['bare']
for k,v in d.items():
    q=lambda x,f: sorted(x)[int(len(x)*f)]
    print(k,len(v),'median %.1f q10-q90 %.1f-%.1f'%(st.median(v),q(v,.1),q(v,.9)),'med pair ratio %.3f'%st.median(x/y for x,y in zip(v,b)),'ratio med %.3f'%(st.median(v)/st.median(b)),'q25 %.3f'%(q(v,.25)/q(b,.25)),'q10 %.3f'%(q(v,.1)/q(b,.1)),'min %.3f'%(min(v)/min(b)))
